//! What wit-bindgen makes of the contract, of HTTP, and of a clock whose pollables can be leaked.

#![allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, clippy::indexing_slicing)]

wit_bindgen::generate!({
    path: ["../../wit", "../../wit/http"],
    inline: "
        package waypost:hostile;

        world hostile {
            include waypost:plugin/services@0.1.0;
            include waypost:http/client@0.1.0;
            import wasi:clocks/monotonic-clock@0.2.12;
            export waypost:plugin/setup@0.1.0;
            export waypost:plugin/on-connect@0.1.0;
            export waypost:plugin/on-recipient@0.1.0;
            export waypost:plugin/on-message@0.1.0;
            export waypost:plugin/on-route@0.1.0;
            export waypost:plugin/on-offline@0.1.0;
            export waypost:plugin/on-online@0.1.0;
            export waypost:plugin/on-event@0.1.0;
        }
    ",
    world: "waypost:hostile/hostile",
    generate_all,
    additional_derives: [PartialEq],
    additional_derives_ignore: ["stream-error"],
});
