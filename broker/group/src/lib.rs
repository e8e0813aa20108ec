//! Group coordinator: decides, knows neither clock nor disk.
