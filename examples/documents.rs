//! The Rust code of the repository's documents, compiled as doc tests. (Each crate compiles its own README.)

#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../README.md")]
    mod readme {}
}
