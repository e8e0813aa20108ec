//! Records to Arrow to Parquet; the table root.
