//! Tests only: network namespaces, packet makers and what end-to-end tests share.
pub mod images;
