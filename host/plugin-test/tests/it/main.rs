//! Scenarios against real components.
