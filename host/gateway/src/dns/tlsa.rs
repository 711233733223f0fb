//! What an answer to a question for TLSA records is worth. Pure.
//!
//! Never believes a record that DNSSEC does not vouch for, nor one that an answer carries under another name.

use hickory_resolver::{
    lookup::Lookup,
    net::{DnsError, NetError},
    proto::{
        dnssec::Proof,
        rr::{Name, RData, Record},
    },
};

/// One record, as numbers (RFC 6698 §2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tlsa {
    pub usage: u8,
    pub selector: u8,
    pub matching: u8,
    pub data: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsaAnswer {
    /// Validated; not empty.
    Secure(Vec<Tlsa>),
    Missing,
    /// The zone is not signed.
    Insecure,
    Bogus,
}

/// RFC 7671 §7: aliases are followed, each of them secure too.
const MAX_ALIASES: usize = 8;

pub(super) fn judge(name: &Name, answer: Result<Lookup, NetError>) -> Result<TlsaAnswer, String> {
    match answer {
        Ok(found) => from_records(name, found.answers()),
        Err(NetError::Dns(DnsError::DnssecBogus)) => Ok(TlsaAnswer::Bogus),
        Err(NetError::Dns(DnsError::Nsec { proof, .. })) => match proof {
            Proof::Bogus => Ok(TlsaAnswer::Bogus),
            Proof::Insecure => Ok(TlsaAnswer::Insecure),
            Proof::Secure => Ok(TlsaAnswer::Missing),
            Proof::Indeterminate => Err("the name servers do not say enough to check DNSSEC".to_owned()),
        },
        Err(error) if error.is_no_records_found() => Ok(TlsaAnswer::Missing),
        Err(error) => Err(error.to_string()),
    }
}

fn from_records(name: &Name, records: &[Record]) -> Result<TlsaAnswer, String> {
    let mut name = name.clone();
    for _ in 0..MAX_ALIASES {
        let mut found = Vec::new();
        let mut alias = None;
        for record in records.iter().filter(|record| record.name == name) {
            match &record.data {
                RData::TLSA(tlsa) => found.push((record.proof, tlsa)),
                RData::CNAME(target) => alias = Some((record.proof, target.0.clone())),
                _ => {}
            }
        }
        let proofs = found.iter().map(|(proof, _)| *proof).chain(alias.iter().map(|(proof, _)| *proof));
        match proofs.min() {
            None => return Ok(TlsaAnswer::Missing),
            Some(Proof::Secure) => {}
            Some(Proof::Insecure) => return Ok(TlsaAnswer::Insecure),
            Some(Proof::Bogus) => return Ok(TlsaAnswer::Bogus),
            Some(Proof::Indeterminate) => {
                return Err("DNSSEC could not be checked: the name servers give no keys".to_owned());
            }
        }
        match alias {
            Some((_, target)) if found.is_empty() => name = target,
            _ => {
                let plain = |tlsa: &hickory_resolver::proto::rr::rdata::TLSA| Tlsa {
                    usage: tlsa.cert_usage.into(),
                    selector: tlsa.selector.into(),
                    matching: tlsa.matching.into(),
                    data: tlsa.cert_data.clone(),
                };
                return Ok(TlsaAnswer::Secure(found.into_iter().map(|(_, tlsa)| plain(tlsa)).collect()));
            }
        }
    }
    Ok(TlsaAnswer::Missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_resolver::proto::rr::rdata::{
        CNAME, TLSA,
        tlsa::{CertUsage, Matching, Selector},
    };

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn record(owner: &str, data: RData, proof: Proof) -> Record {
        let mut record = Record::from_rdata(name(owner), 60, data);
        record.proof = proof;
        record
    }

    fn tlsa() -> RData {
        RData::TLSA(TLSA::new(CertUsage::DaneEe, Selector::Spki, Matching::Sha256, vec![1; 32]))
    }

    #[test]
    fn a_record_counts_only_under_the_name_that_was_asked_for() {
        let asked = name("_25._tcp.mx.example.");
        let of = |records: &[Record]| from_records(&asked, records);
        let own = record("_25._tcp.mx.example.", tlsa(), Proof::Secure);
        assert!(matches!(of(&[own]), Ok(TlsaAnswer::Secure(found)) if found.len() == 1));
        let strange = record("_25._tcp.evil.example.", tlsa(), Proof::Secure);
        assert_eq!(of(std::slice::from_ref(&strange)), Ok(TlsaAnswer::Missing));
        let alias = |proof| record("_25._tcp.mx.example.", RData::CNAME(CNAME(name("_25._tcp.evil.example."))), proof);
        assert!(matches!(of(&[alias(Proof::Secure), strange.clone()]), Ok(TlsaAnswer::Secure(_))));
        assert_eq!(of(&[alias(Proof::Insecure), strange]), Ok(TlsaAnswer::Insecure));
    }

    #[test]
    fn what_dnssec_does_not_vouch_for_is_told_apart() {
        let asked = name("_25._tcp.mx.example.");
        let with = |proof| from_records(&asked, &[record("_25._tcp.mx.example.", tlsa(), proof)]);
        assert_eq!(with(Proof::Insecure), Ok(TlsaAnswer::Insecure));
        assert_eq!(with(Proof::Bogus), Ok(TlsaAnswer::Bogus));
        assert!(with(Proof::Indeterminate).is_err());
    }
}
