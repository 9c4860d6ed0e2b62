"""The log as files: a segment per writer, sealed as Parquet once it is finished; verified, pruned, erased."""
