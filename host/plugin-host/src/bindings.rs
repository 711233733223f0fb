//! The contract in `wit/` as Rust types. Generated; nothing is decided here.

#![allow(missing_docs, unreachable_pub, clippy::all)]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "host",
    imports: {
        // These may wait: for the spool, for a resolver.
        "waypost:plugin/message": async,
        "waypost:plugin/dns": async,
    },
    exports: { default: async },
});
