//! Turns a plugin's type into the exports of its component: only the hooks that it names.

/// `waypost_sdk::export!(MyPlugin: Setup, OnRecipient);` once in each plugin. The component exports
/// the hooks named here and no other. Natively nothing is exported: a linker for ELF takes no name
/// with a colon in it, so the functions are only named, to be type-checked.
#[macro_export]
macro_rules! export {
    ($plugin:ty: $($hook:ident),+ $(,)?) => {
        const _: () = {
            #[allow(dead_code)]
            struct Exported;
            $($crate::__export_hook!($plugin, $hook);)+

            /// The version of the plugin's crate, for those who look at the component.
            #[cfg(target_arch = "wasm32")]
            #[used]
            #[unsafe(link_section = "version")]
            static VERSION: [u8; ::core::env!("CARGO_PKG_VERSION").len()] = {
                let (text, mut bytes) = (::core::env!("CARGO_PKG_VERSION").as_bytes(), [0; _]);
                let mut at = 0;
                while at < text.len() {
                    bytes[at] = text[at];
                    at += 1;
                }
                bytes
            };
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_hook {
    ($plugin:ty, Setup) => {
        const _: () = { let _ = <$plugin as $crate::Setup>::validate; };
        impl $crate::bindings::setup::exports::waypost::plugin::setup::Guest for Exported {
            fn validate() -> ::core::result::Result<(), ::std::string::String> {
                <$plugin as $crate::Setup>::validate()
            }
        }
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::setup::export_setup!(Exported with_types_in $crate::bindings::setup);
    };
    ($plugin:ty, OnConnect) => {
        const _: () = { let _ = <$plugin as $crate::OnConnect>::on_connect; };
        impl $crate::bindings::on_connect::exports::waypost::plugin::on_connect::Guest for Exported {
            fn connect() -> $crate::Verdict {
                $crate::or_fail("on-connect", <$plugin as $crate::OnConnect>::on_connect())
            }
        }
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::on_connect::export_on_connect!(Exported with_types_in $crate::bindings::on_connect);
    };
    ($plugin:ty, OnRecipient) => {
        const _: () = { let _ = <$plugin as $crate::OnRecipient>::on_recipient; };
        impl $crate::bindings::on_recipient::exports::waypost::plugin::on_recipient::Guest for Exported {
            fn check_recipient(address: ::std::string::String) -> $crate::Verdict {
                $crate::or_fail("on-recipient", <$plugin as $crate::OnRecipient>::on_recipient(&address))
            }
        }
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::on_recipient::export_on_recipient!(Exported with_types_in $crate::bindings::on_recipient);
    };
    ($plugin:ty, OnMessage) => {
        const _: () = { let _ = <$plugin as $crate::OnMessage>::on_message; };
        impl $crate::bindings::on_message::exports::waypost::plugin::on_message::Guest for Exported {
            fn check_message() -> $crate::Verdict {
                $crate::or_fail("on-message", <$plugin as $crate::OnMessage>::on_message())
            }
        }
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::on_message::export_on_message!(Exported with_types_in $crate::bindings::on_message);
    };
    ($plugin:ty, OnRoute) => {
        const _: () = { let _ = <$plugin as $crate::OnRoute>::on_route; };
        impl $crate::bindings::on_route::exports::waypost::plugin::on_route::Guest for Exported {
            fn route() -> $crate::Routing {
                $crate::or_fail("on-route", <$plugin as $crate::OnRoute>::on_route())
            }
        }
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::on_route::export_on_route!(Exported with_types_in $crate::bindings::on_route);
    };
    ($plugin:ty, OnOffline) => {
        const _: () = { let _ = <$plugin as $crate::OnOffline>::on_offline; };
        impl $crate::bindings::on_offline::exports::waypost::plugin::on_offline::Guest for Exported {
            fn offline() -> $crate::Action {
                $crate::or_fail("on-offline", <$plugin as $crate::OnOffline>::on_offline())
            }
        }
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::on_offline::export_on_offline!(Exported with_types_in $crate::bindings::on_offline);
    };
    ($plugin:ty, OnOnline) => {
        const _: () = { let _ = <$plugin as $crate::OnOnline>::on_online; };
        impl $crate::bindings::on_online::exports::waypost::plugin::on_online::Guest for Exported {
            fn online(domain: ::std::string::String, held: u64) -> bool {
                $crate::or_fail("on-online", <$plugin as $crate::OnOnline>::on_online(&domain, held))
            }
        }
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::on_online::export_on_online!(Exported with_types_in $crate::bindings::on_online);
    };
    ($plugin:ty, OnEvent) => {
        const _: () = { let _ = <$plugin as $crate::OnEvent>::on_event; };
        impl $crate::bindings::on_event::exports::waypost::plugin::on_event::Guest for Exported {
            fn notify(kind: ::std::string::String, at: u64, json: ::std::string::String) {
                $crate::or_fail("on-event", <$plugin as $crate::OnEvent>::on_event(&kind, at, &json))
            }
        }
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::on_event::export_on_event!(Exported with_types_in $crate::bindings::on_event);
    };
    ($plugin:ty, $other:ident) => {
        ::core::compile_error!(::core::concat!(
            ::core::stringify!($other),
            " is no hook; the hooks are Setup, OnConnect, OnRecipient, OnMessage, OnRoute, OnOffline, OnOnline and OnEvent"
        ));
    };
}
