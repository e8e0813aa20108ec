//! The reader that was written from FORMAT.md alone prints the records of the golden bucket. Partition 0 has no
//! compressed part, so that Python's standard library is enough.

use std::path::Path;
use std::process::Command;

#[test]
fn the_python_reader_prints_what_the_golden_bucket_holds() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("python3")
        .arg(here.join("../reader/strata_reader.py"))
        .arg(here.join("golden/bucket-v1"))
        .args(["--topic", "flights", "--partition", "0"])
        .output()
        .expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = std::fs::read_to_string(here.join("golden/bucket-v1.ndjson")).expect("the golden file is read");
    let of_0 = |text: &str| -> Vec<serde_json::Value> {
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON"));
        lines.filter(|row: &serde_json::Value| row["partition"] == 0).collect()
    };
    let printed = of_0(&String::from_utf8(output.stdout).expect("the output is UTF-8"));
    assert_eq!(printed, of_0(&expected));
    assert_eq!(printed.len(), 5);
}
