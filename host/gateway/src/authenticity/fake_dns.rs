//! DNS for tests: what is there, what fails, and what was asked.

use crate::dns::{Family, Lookup, Unavailable};
use mail::BoxFuture;
use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Mutex,
};

#[derive(Default)]
pub struct FakeDns {
    pub txt: HashMap<String, Vec<String>>,
    pub mx: HashMap<String, Vec<String>>,
    pub addresses: HashMap<String, Vec<IpAddr>>,
    pub names: HashMap<IpAddr, Vec<String>>,
    /// Every question about these fails.
    pub failing: HashSet<String>,
    pub asked: Mutex<Vec<String>>,
}

impl FakeDns {
    pub fn with_txt(mut self, name: &str, text: &str) -> Self {
        self.txt.entry(name.to_owned()).or_default().push(text.to_owned());
        self
    }
    pub fn with_address(mut self, name: &str, ip: &str) -> Self {
        self.addresses.entry(name.to_owned()).or_default().push(ip.parse().unwrap());
        self
    }
    pub fn with_failing(mut self, name: &str) -> Self {
        self.failing.insert(name.to_owned());
        self
    }

    fn answer<T: Clone>(&self, name: &str, from: &HashMap<String, Vec<T>>) -> Result<Vec<T>, Unavailable> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.asked.lock().unwrap().push(name.clone());
        if self.failing.contains(&name) { Err(Unavailable) } else { Ok(from.get(&name).cloned().unwrap_or_default()) }
    }
}

impl Lookup for FakeDns {
    fn txt<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<Vec<u8>>, Unavailable>> {
        let found = self.answer(name, &self.txt);
        Box::pin(async { Ok(found?.into_iter().map(String::into_bytes).collect()) })
    }
    fn mx<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<String>, Unavailable>> {
        let found = self.answer(name, &self.mx);
        Box::pin(async { found })
    }
    fn addresses<'a>(&'a self, name: &'a str, family: Family) -> BoxFuture<'a, Result<Vec<IpAddr>, Unavailable>> {
        let found = self.answer(name, &self.addresses);
        Box::pin(async move { Ok(found?.into_iter().filter(|ip| Family::from(*ip) == family).collect()) })
    }
    fn names(&self, ip: IpAddr) -> BoxFuture<'_, Result<Vec<String>, Unavailable>> {
        self.asked.lock().unwrap().push(ip.to_string());
        let found = match self.failing.contains(&ip.to_string()) {
            true => Err(Unavailable),
            false => Ok(self.names.get(&ip).cloned().unwrap_or_default()),
        };
        Box::pin(async { found })
    }
}
