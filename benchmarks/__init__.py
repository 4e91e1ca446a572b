"""What `htlnet bench` measures: ratios of interleaved timings, on the public API."""
