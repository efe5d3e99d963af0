//! What can fail at the edge to the kernel.

/// Each variant names the operation that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An operation that needs an attached data plane.
    #[error("cannot {operation}: nothing is attached")]
    NotAttached {
        /// What was asked for.
        operation: &'static str,
    },
}
