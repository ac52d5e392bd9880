//! Connections as clients see them.

mod connection;
mod harness;
mod hostile;
