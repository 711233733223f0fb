//! What wit-bindgen makes of `wit/plugin.wit`; decides nothing.
//!
//! The services come from one world. Each hook has a world of its own, so that a component exports
//! just the hooks that its author wrote: wit-component looks for a definition of everything that a
//! linked world exports, and a world's exports are linked only where its export macro is used.

#![allow(unsafe_code, unreachable_pub, missing_docs, clippy::all, clippy::indexing_slicing)]

pub mod services {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "waypost:plugin/services",
        generate_all,
        pub_export_macro: true,
        additional_derives: [PartialEq, Eq],
    });
}

macro_rules! hook {
    ($name:ident, $export:literal, $wit:literal $(, types = $types:literal)?) => {
        pub mod $name {
            wit_bindgen::generate!({
                path: "../../wit",
                inline: $wit,
                with: { $($types: crate::bindings::services::waypost::plugin::types)? },
                pub_export_macro: true,
                export_macro_name: $export,
                additional_derives: [PartialEq, Eq],
            });
        }
    };
}

hook!(setup, "export_setup", "package waypost:sdk-setup; world setup { export waypost:plugin/setup@0.1.0; }");
hook!(
    on_connect,
    "export_on_connect",
    "package waypost:sdk-on-connect; world on-connect { export waypost:plugin/on-connect@0.1.0; }",
    types = "waypost:plugin/types@0.1.0"
);
hook!(
    on_recipient,
    "export_on_recipient",
    "package waypost:sdk-on-recipient; world on-recipient { export waypost:plugin/on-recipient@0.1.0; }",
    types = "waypost:plugin/types@0.1.0"
);
hook!(
    on_message,
    "export_on_message",
    "package waypost:sdk-on-message; world on-message { export waypost:plugin/on-message@0.1.0; }",
    types = "waypost:plugin/types@0.1.0"
);
hook!(
    on_route,
    "export_on_route",
    "package waypost:sdk-on-route; world on-route { export waypost:plugin/on-route@0.1.0; }",
    types = "waypost:plugin/types@0.1.0"
);
hook!(
    on_offline,
    "export_on_offline",
    "package waypost:sdk-on-offline; world on-offline { export waypost:plugin/on-offline@0.1.0; }",
    types = "waypost:plugin/types@0.1.0"
);
hook!(
    on_online,
    "export_on_online",
    "package waypost:sdk-on-online; world on-online { export waypost:plugin/on-online@0.1.0; }"
);
hook!(
    on_event,
    "export_on_event",
    "package waypost:sdk-on-event; world on-event { export waypost:plugin/on-event@0.1.0; }"
);
