//! Promises of the configuration, each with files on a disk.
