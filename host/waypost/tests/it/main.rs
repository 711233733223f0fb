//! End to end: the real binary, real plugins, real peers. One scenario file each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support;

mod alerts;
mod authenticity;
mod broken_clients;
mod check_in;
mod clients;
mod clock_jumps;
mod command_line;
mod crash;
mod damaged_files;
mod disk_errors;
mod domains;
mod etrn;
mod examples;
mod exhaustion;
mod fail_points;
mod faults;
mod full_disk;
mod hooks;
mod hostile_clients;
mod hostile_mail;
mod hostile_plugins;
mod identity;
mod large_mails;
mod limits;
mod many_domains;
mod next_hops;
mod odmr;
mod offline;
mod open_relay;
mod page;
mod plugin_tools;
mod postfix;
mod postmaster;
mod probe;
mod proxy;
mod recovery_storm;
mod reload;
mod rspamd;
mod shadow;
mod smuggling;
mod stopping;
mod sweep;
mod trace;
mod vanishing_client;
mod wire;
mod wrong_settings;
mod xclient;
