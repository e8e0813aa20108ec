//! Numbers for people: sizes, times, money.

use jiff::Unit;

/// Bytes with a binary unit and three digits: `1.50 MiB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in UNITS.into_iter().skip(1) {
        // What would be written as 1024 is 1 of the next.
        if value < 1023.5 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    let places = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.places$} {unit}")
}

/// A time as RFC 3339 in UTC, in whole seconds; `-` where there is none.
#[must_use]
pub fn time(ms: i64) -> String {
    let known = (ms >= 0).then(|| jiff::Timestamp::from_millisecond(ms).ok()).flatten();
    let whole = known.and_then(|time| {
        time.round(jiff::TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Floor)).ok()
    });
    whole.map_or_else(|| "-".to_owned(), |time| time.to_string())
}

/// Dollars: two digits after the point, or as many as it takes to see something.
#[must_use]
pub fn dollars(amount: f64) -> String {
    match amount {
        0.0 => "$0".to_owned(),
        amount if amount >= 0.095 => format!("${amount:.2}"),
        amount if amount >= 0.000_095 => format!("${amount:.4}"),
        _ => "<$0.0001".to_owned(),
    }
}

/// A count with its noun: `1 record`, `2 records`.
#[must_use]
pub fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Something or a dash.
#[must_use]
pub fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        for (count, expect) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (1536, "1.50 KiB"),
            (10 << 20, "10.0 MiB"),
            (128 << 20, "128 MiB"),
            ((1 << 30) - 1, "1.00 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(count), expect, "{count}");
        }
    }

    #[test]
    fn times_are_utc_and_absent_ones_a_dash() {
        for (ms, expect) in
            [(-1, "-"), (0, "1970-01-01T00:00:00Z"), (1_372_910_400_999, "2013-07-04T04:00:00Z"), (i64::MAX, "-")]
        {
            assert_eq!(time(ms), expect, "{ms}");
        }
    }

    #[test]
    fn money_shows_something() {
        for (amount, expect) in
            [(0.0, "$0"), (12.345, "$12.35"), (0.1, "$0.10"), (0.0123, "$0.0123"), (1e-9, "<$0.0001")]
        {
            assert_eq!(dollars(amount), expect, "{amount}");
        }
    }
}
