//! Promises about who hears what, with a queue in memory.
