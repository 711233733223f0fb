//! Turns a plugin's type into the exports of its component: only the hooks that it names.

/// `waypost_sdk::export!(MyPlugin: Setup, OnRecipient);` once in each plugin. The component exports
/// the hooks named here and no other.
#[macro_export]
macro_rules! export {
    ($plugin:ty: $($hook:ident),+ $(,)?) => {
        const _: () = {
            struct Exported;
            $($crate::__export_hook!($plugin, $hook);)+
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_hook {
    ($plugin:ty, Setup) => {
        impl $crate::bindings::setup::exports::waypost::plugin::setup::Guest for Exported {
            fn validate() -> ::core::result::Result<(), ::std::string::String> {
                <$plugin as $crate::Setup>::validate()
            }
        }
        $crate::bindings::setup::export_setup!(Exported with_types_in $crate::bindings::setup);
    };
    ($plugin:ty, OnConnect) => {
        impl $crate::bindings::on_connect::exports::waypost::plugin::on_connect::Guest for Exported {
            fn connect() -> $crate::Verdict {
                $crate::or_fail("on-connect", <$plugin as $crate::OnConnect>::on_connect())
            }
        }
        $crate::bindings::on_connect::export_on_connect!(Exported with_types_in $crate::bindings::on_connect);
    };
    ($plugin:ty, OnRecipient) => {
        impl $crate::bindings::on_recipient::exports::waypost::plugin::on_recipient::Guest for Exported {
            fn check_recipient(address: ::std::string::String) -> $crate::Verdict {
                $crate::or_fail("on-recipient", <$plugin as $crate::OnRecipient>::on_recipient(&address))
            }
        }
        $crate::bindings::on_recipient::export_on_recipient!(Exported with_types_in $crate::bindings::on_recipient);
    };
    ($plugin:ty, OnMessage) => {
        impl $crate::bindings::on_message::exports::waypost::plugin::on_message::Guest for Exported {
            fn check_message() -> $crate::Verdict {
                $crate::or_fail("on-message", <$plugin as $crate::OnMessage>::on_message())
            }
        }
        $crate::bindings::on_message::export_on_message!(Exported with_types_in $crate::bindings::on_message);
    };
    ($plugin:ty, OnRoute) => {
        impl $crate::bindings::on_route::exports::waypost::plugin::on_route::Guest for Exported {
            fn route() -> $crate::Routing {
                $crate::or_fail("on-route", <$plugin as $crate::OnRoute>::on_route())
            }
        }
        $crate::bindings::on_route::export_on_route!(Exported with_types_in $crate::bindings::on_route);
    };
    ($plugin:ty, OnOffline) => {
        impl $crate::bindings::on_offline::exports::waypost::plugin::on_offline::Guest for Exported {
            fn offline() -> $crate::Action {
                $crate::or_fail("on-offline", <$plugin as $crate::OnOffline>::on_offline())
            }
        }
        $crate::bindings::on_offline::export_on_offline!(Exported with_types_in $crate::bindings::on_offline);
    };
    ($plugin:ty, OnOnline) => {
        impl $crate::bindings::on_online::exports::waypost::plugin::on_online::Guest for Exported {
            fn online(domain: ::std::string::String, held: u64) -> bool {
                $crate::or_fail("on-online", <$plugin as $crate::OnOnline>::on_online(&domain, held))
            }
        }
        $crate::bindings::on_online::export_on_online!(Exported with_types_in $crate::bindings::on_online);
    };
    ($plugin:ty, OnEvent) => {
        impl $crate::bindings::on_event::exports::waypost::plugin::on_event::Guest for Exported {
            fn notify(kind: ::std::string::String, at: u64, json: ::std::string::String) {
                $crate::or_fail("on-event", <$plugin as $crate::OnEvent>::on_event(&kind, at, &json))
            }
        }
        $crate::bindings::on_event::export_on_event!(Exported with_types_in $crate::bindings::on_event);
    };
    ($plugin:ty, $other:ident) => {
        ::core::compile_error!(::core::concat!(
            ::core::stringify!($other),
            " is no hook; the hooks are Setup, OnConnect, OnRecipient, OnMessage, OnRoute, OnOffline, OnOnline and OnEvent"
        ));
    };
}
