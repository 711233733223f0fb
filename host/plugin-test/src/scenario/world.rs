//! Reads what a plugin finds around it: limits, state, DNS, web servers.

use crate::fake::{
    dns::{DnsRecords, FakeDns},
    http::Exchange,
};
use bytes::Bytes;
use mail::Domain;
use plugin_host::{HttpError, HttpResponse, Limits, Origin};
use std::{collections::BTreeMap, net::IpAddr, time::Duration};
use toml_keys::{Table, Value};

const MIB: u64 = 1 << 20;

pub(super) fn limits(value: Option<Value<'_>>) -> Limits {
    let mut limits = Limits::default();
    let Some(mut table) = value.and_then(|value| value.table()) else { return limits };
    let size = |table: &mut Table<'_>, key, limit: &mut u64, example| {
        *limit = table.get(key).and_then(|v| v.size(1..=4096 * MIB, example)).unwrap_or(*limit);
    };
    size(&mut table, "memory", &mut limits.memory, "\"64 MiB\"");
    size(&mut table, "work", &mut limits.work, "\"1 GiB\"");
    let time = |table: &mut Table<'_>, key, limit: &mut Duration, example| {
        *limit = table.get(key).and_then(|v| v.any_duration(example)).unwrap_or(*limit);
    };
    time(&mut table, "time", &mut limits.time, "\"2 s\"");
    time(&mut table, "cpu", &mut limits.cpu, "\"500 ms\"");
    let count = |table: &mut Table<'_>, key, limit: &mut u32, example| {
        *limit = table.get(key).and_then(|v| v.whole_number(0..=100_000, example)).unwrap_or(*limit);
    };
    count(&mut table, "log-lines", &mut limits.log_lines, "100");
    count(&mut table, "http-requests", &mut limits.http_requests, "20");
    table.finish();
    limits
}

pub(super) fn kv(value: Option<Value<'_>>) -> BTreeMap<String, String> {
    let entries = value.and_then(|value| value.table()).map(|table| table.all()).unwrap_or_default();
    let text = |(key, value): (&str, Value<'_>)| Some((key.to_owned(), value.string("\"1\"")?.to_owned()));
    entries.into_iter().filter_map(text).collect()
}

pub(super) fn dns(names: Option<Value<'_>>, lists: Option<Value<'_>>) -> FakeDns {
    let mut dns = FakeDns::default();
    for (name, value) in entries(names) {
        let address = name.parse::<IpAddr>();
        let Some(table) = value.table() else { continue };
        let records = records(table, address.is_ok());
        match address {
            Ok(address) => drop(dns.pointers.insert(address.to_canonical(), records)),
            Err(_) => match name.parse::<Domain>() {
                Ok(domain) => drop(dns.names.insert(domain.as_str().to_owned(), records)),
                Err(error) => {
                    value.key_error(error.to_string(), "for instance [dns.\"client.example\"] a = [\"192.0.2.1\"]")
                }
            },
        }
    }
    for (zone, value) in entries(lists) {
        for (listed, answers) in value.table().map(|table| table.all()).unwrap_or_default() {
            let Ok(address) = listed.parse::<IpAddr>() else {
                answers.key_error(
                    format!("{listed:?} is not an IP address"),
                    "for instance \"192.0.2.1\" = \"127.0.0.2\"",
                );
                continue;
            };
            let answers = answers.one_or_more();
            let addresses = answers.iter().filter_map(|v| v.parsed("\"127.0.0.2\"", str::parse::<IpAddr>)).collect();
            dns.names.insert(listed_name(address, zone), DnsRecords { addresses, ..DnsRecords::default() });
        }
    }
    dns
}

/// RFC 5782 §2.1 and §2.4.
fn listed_name(address: IpAddr, zone: &str) -> String {
    let zone = zone.trim_end_matches('.').to_ascii_lowercase();
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.{zone}")
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev().map(|octet| format!("{:x}.{:x}.", octet & 15, octet >> 4));
            format!("{}{zone}", nibbles.collect::<String>())
        }
    }
}

fn records(mut table: Table<'_>, of_address: bool) -> DnsRecords {
    let fails = table.get("fails").and_then(|value| value.string("\"timeout\"")).map(str::to_owned);
    let mut records = DnsRecords { fails, ..DnsRecords::default() };
    if of_address {
        records.ptr = strings(&mut table, "ptr", "[\"client.example\"]");
    } else {
        for key in ["a", "aaaa"] {
            let values = table.get(key).iter().flat_map(Value::one_or_more).collect::<Vec<_>>();
            records.addresses.extend(values.iter().filter_map(|v| v.parsed("[\"192.0.2.1\"]", str::parse::<IpAddr>)));
        }
        records.txt = strings(&mut table, "txt", "[\"v=spf1 -all\"]");
        let hosts = table.get("mx").iter().flat_map(Value::one_or_more).collect::<Vec<_>>();
        records.mx = hosts.iter().filter_map(|value| value.parsed("[\"10 mail.example\"]", mx)).collect();
        records.mx.sort();
    }
    table.finish();
    records
}

fn mx(text: &str) -> Result<(u16, String), String> {
    let wrong = || format!("{text:?} is not a preference and a host");
    let (preference, host) = text.split_once(' ').ok_or_else(wrong)?;
    Ok((preference.parse().map_err(|_| wrong())?, host.trim().to_owned()))
}

pub(super) fn web(value: Option<Value<'_>>) -> Vec<Exchange> {
    value.map(|value| value.tables()).unwrap_or_default().into_iter().filter_map(exchange).collect()
}

fn exchange(mut table: Table<'_>) -> Option<Exchange> {
    const EXAMPLE: &str = "\"http://127.0.0.1:11333/checkv2\"";
    let url = table.required("url", EXAMPLE).and_then(|value| value.parsed(EXAMPLE, url));
    let text =
        |table: &mut Table<'_>, key, example| table.get(key).and_then(|value| value.string(example)).map(str::to_owned);
    let method = text(&mut table, "method", "\"POST\"").map(|method| method.to_ascii_uppercase());
    let request_contains = text(&mut table, "request-contains", "\"Subject: hello\"");
    let fails = [
        ("connect", HttpError::Connect("refused".to_owned())),
        ("dns", HttpError::Name("no such name".to_owned())),
        ("tls", HttpError::Tls("bad certificate".to_owned())),
        ("timeout", HttpError::Timeout),
    ];
    let choices: Vec<(&str, &HttpError)> = fails.iter().map(|(name, error)| (*name, error)).collect();
    let fails = table.get("fails").and_then(|value| value.choice(&choices));
    let status = table.get("status").and_then(|value| value.whole_number(200..=599_u16, "200")).unwrap_or(200);
    let headers = entries(table.get("headers"));
    let headers = headers.into_iter().filter_map(|(name, value)| {
        Some((name.to_ascii_lowercase(), value.string("\"application/json\"")?.as_bytes().to_vec()))
    });
    let headers = headers.collect();
    let (body, json) = (table.get("body"), table.get("json"));
    let body = match (body, json) {
        (Some(body), None) => Bytes::from(body.string("\"OK\"")?.to_owned()),
        (None, Some(json)) => Bytes::from(json.json()?.to_string()),
        (Some(body), Some(_)) => {
            body.key_error("`body` and `json` are both given", "`json` is a table that is sent as JSON");
            return None;
        }
        (None, None) => Bytes::new(),
    };
    table.finish();
    let answer = fails.map_or(Ok(HttpResponse { status, headers, body }), |error| Err(error.clone()));
    Some(Exchange { method, url: url?, request_contains, answer })
}

/// With its port, and a path.
fn url(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is not a URL with http or https");
    let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
    let path = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(path);
    let origin: Origin = format!("{scheme}://{authority}").parse().map_err(|_| wrong())?;
    Ok(format!("{origin}{}", if path.is_empty() { "/" } else { path }))
}

fn entries<'a>(value: Option<Value<'a>>) -> Vec<(&'a str, Value<'a>)> {
    value.and_then(|value| value.table()).map(|table| table.all()).unwrap_or_default()
}

fn strings(table: &mut Table<'_>, key: &'static str, example: &str) -> Vec<String> {
    let values = table.get(key).iter().flat_map(Value::one_or_more).collect::<Vec<_>>();
    values.iter().filter_map(|value| value.string(example)).map(str::to_owned).collect()
}
