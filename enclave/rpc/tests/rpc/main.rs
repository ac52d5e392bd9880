//! Connections as clients see them.

mod batch;
mod connection;
mod documented;
mod harness;
mod hostile;
mod updates;
