//! How many connections there may be, in all and from one address, and whose an address is.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

pub struct ConnectionLimits {
    total: usize,
    per_address: usize,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// What one customer has: an IPv4 address, or an IPv6 network of 64 bits.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) >> 64 << 64).into(),
    }
}

/// One connection's place; given back when dropped.
pub struct Place {
    limits: Arc<ConnectionLimits>,
    address: IpAddr,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    Total,
    PerAddress,
}

impl ConnectionLimits {
    pub fn new(total: usize, per_address: usize) -> Arc<Self> {
        Arc::new(Self { total, per_address, open: Mutex::default() })
    }

    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Place, Refused> {
        // S13: whoever has a /64 has all of its addresses.
        let address = network(address);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.total >= self.total {
            return Err(Refused::Total);
        }
        let here = open.by_address.entry(address).or_default();
        if *here >= self.per_address {
            return Err(Refused::PerAddress);
        }
        *here += 1;
        open.total += 1;
        Ok(Place { limits: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.limits.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.total = open.total.saturating_sub(1);
        if let Some(here) = open.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                open.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_of_one_customer_are_one() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn a_place_is_free_again_when_its_connection_ends() {
        let limits = ConnectionLimits::new(2, 1);
        let (a, b, c): (IpAddr, IpAddr, IpAddr) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into(), [127, 0, 0, 3].into());
        let first = limits.enter(a).ok().unwrap();
        assert_eq!(limits.enter(a).err(), Some(Refused::PerAddress));
        let _second = limits.enter(b).ok().unwrap();
        assert_eq!(limits.enter(c).err(), Some(Refused::Total));
        drop(first);
        assert!(limits.enter(c).is_ok());
    }
}
