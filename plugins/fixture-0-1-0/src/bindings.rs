//! What wit-bindgen makes of the contract as it was published.

#![allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, clippy::indexing_slicing)]

wit_bindgen::generate!({
    path: "../../wit/released/0.1.0",
    world: "waypost:plugin/host",
    generate_all,
    additional_derives: [PartialEq],
});
