"""Tables in files: CSV, Parquet, TFRecord."""
