//! What wit-bindgen makes of the contract, and of a clock whose pollables can be leaked.

#![allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, clippy::indexing_slicing)]

wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package waypost:hostile;

        world hostile {
            include waypost:plugin/services@0.1.0;
            import wasi:clocks/monotonic-clock@0.2.0;
            export waypost:plugin/setup@0.1.0;
            export waypost:plugin/on-recipient@0.1.0;
            export waypost:plugin/on-message@0.1.0;
            export waypost:plugin/on-route@0.1.0;
            export waypost:plugin/on-offline@0.1.0;
        }

        package wasi:io@0.2.0 {
            interface poll {
                resource pollable { ready: func() -> bool; block: func(); }
                poll: func(in: list<borrow<pollable>>) -> list<u32>;
            }
        }

        package wasi:clocks@0.2.0 {
            interface monotonic-clock {
                use wasi:io/poll@0.2.0.{pollable};
                type instant = u64;
                type duration = u64;
                now: func() -> instant;
                resolution: func() -> duration;
                subscribe-instant: func(when: instant) -> pollable;
                subscribe-duration: func(when: duration) -> pollable;
            }
        }
    ",
    world: "waypost:hostile/hostile",
    generate_all,
    additional_derives: [PartialEq],
});
