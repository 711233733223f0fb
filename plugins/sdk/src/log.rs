//! Writes lines to the gateway's log; elsewhere, as in `cargo test`, to standard error.

pub use crate::bindings::services::waypost::plugin::log::Level;

/// True if a line of this level is kept. Asked by the macros, so that nothing is formatted in vain.
pub fn enabled(level: Level) -> bool {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::services::waypost::plugin::log::enabled(level);
    #[cfg(not(target_arch = "wasm32"))]
    return level >= Level::Info;
}

/// Prefer the macros: `info!("learned"; network = network)`.
pub fn write(level: Level, message: &str, fields: &[(String, String)]) {
    #[cfg(target_arch = "wasm32")]
    crate::bindings::services::waypost::plugin::log::write(level, message, fields);
    #[cfg(not(target_arch = "wasm32"))]
    eprintln!("{level:?} {message} {fields:?}");
}

/// `log!(Info, "waits {wait} s"; network = network)`: a format string with its arguments, then fields.
#[macro_export]
macro_rules! log {
    ($level:ident, $format:literal $(, $argument:expr)* $(; $($key:ident = $value:expr),+ $(,)?)?) => {
        if $crate::log::enabled($crate::log::Level::$level) {
            $crate::log::write(
                $crate::log::Level::$level,
                &::std::format!($format $(, $argument)*),
                &[$($((::std::stringify!($key).to_owned(), ::std::string::ToString::to_string(&$value))),+)?],
            );
        }
    };
}

#[macro_export]
macro_rules! debug { ($($line:tt)+) => { $crate::log!(Debug, $($line)+) }; }
#[macro_export]
macro_rules! info { ($($line:tt)+) => { $crate::log!(Info, $($line)+) }; }
#[macro_export]
macro_rules! warn { ($($line:tt)+) => { $crate::log!(Warn, $($line)+) }; }
#[macro_export]
macro_rules! error { ($($line:tt)+) => { $crate::log!(Error, $($line)+) }; }
