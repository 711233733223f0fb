//! Whether TLSA records vouch for whoever has shown a chain (RFC 6698, RFC 7671, RFC 7672). Pure but for the clock.

use super::certificate::Certificate;
use crate::{dns::Tlsa, tls::vouched_by_anchors};
use rustls_pki_types::{CertificateDer, ServerName};
use sha2::{Digest, Sha256, Sha512};

const DANE_TA: u8 = 2;
const DANE_EE: u8 = 3;

/// Records that are looked at, at most.
const MAX_RECORDS: usize = 32;

/// RFC 7672 §3.1: only usages 2 and 3 are usable; one record that matches is enough.
pub fn holds(records: &[Tlsa], chain: &[CertificateDer<'static>], host: &ServerName<'_>) -> Result<(), String> {
    let usable: Vec<&Tlsa> = records.iter().filter(|record| is_usable(record)).take(MAX_RECORDS).collect();
    if usable.is_empty() {
        return Err("none of its TLSA records is usable: they must have usage 2 or 3".to_owned());
    }
    let (own, issuers) = chain.split_first().ok_or("it has shown no certificate")?;
    // RFC 7671 §5.1: with usage 3 neither names nor dates matter: the record is all there is to it.
    if usable.iter().any(|record| record.usage == DANE_EE && matches(record, own)) {
        return Ok(());
    }
    let mut anchors: Vec<CertificateDer<'static>> = Vec::new();
    for record in usable.iter().filter(|record| record.usage == DANE_TA) {
        anchors.extend(issuers.iter().filter(|issuer| matches(record, issuer)).cloned());
        // RFC 7671 §5.2.2: a whole certificate in the DNS need not be shown.
        if (record.selector, record.matching) == (0, 0) {
            anchors.push(CertificateDer::from(record.data.clone()));
        }
    }
    if anchors.is_empty() {
        return Err("its certificate matches none of its TLSA records".to_owned());
    }
    vouched_by_anchors(anchors, chain, host)
        .map_err(|error| format!("its TLSA records name an authority, but its certificate is not good: {error}"))
}

fn is_usable(record: &Tlsa) -> bool {
    matches!(record.usage, DANE_TA | DANE_EE) && record.selector <= 1 && record.matching <= 2
}

fn matches(record: &Tlsa, certificate: &CertificateDer<'_>) -> bool {
    let selected = match record.selector {
        0 => certificate.to_vec(),
        _ => match Certificate::read(certificate) {
            Ok(certificate) => certificate.spki,
            Err(_) => return false,
        },
    };
    match record.matching {
        0 => selected == record.data,
        1 => Sha256::digest(&selected).as_slice() == record.data,
        _ => Sha512::digest(&selected).as_slice() == record.data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

    /// A server's chain: its own certificate, then its issuer's.
    fn chain() -> Vec<CertificateDer<'static>> {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().unwrap();
        let shown = authority.self_signed(&authority_key).unwrap().der().clone();
        let issuer = Issuer::new(authority, authority_key);
        let own = CertificateParams::new(vec!["mx.example".to_owned()]).unwrap();
        let own = own.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        vec![own.der().clone(), shown]
    }

    fn record(usage: u8, selector: u8, matching: u8, of: &CertificateDer<'_>) -> Tlsa {
        let selected = if selector == 0 { of.to_vec() } else { Certificate::read(of).unwrap().spki };
        let data = match matching {
            0 => selected,
            1 => Sha256::digest(&selected).to_vec(),
            _ => Sha512::digest(&selected).to_vec(),
        };
        Tlsa { usage, selector, matching, data }
    }

    fn host(name: &str) -> ServerName<'static> {
        ServerName::try_from(name.to_owned()).unwrap()
    }

    #[test]
    fn every_selector_and_matching_type_proves_the_key_that_it_is_made_of_and_no_other() {
        let (ours, other) = (chain(), chain());
        for selector in 0..2 {
            for matching in 0..3 {
                let own = record(3, selector, matching, &ours[0]);
                assert!(holds(std::slice::from_ref(&own), &ours, &host("mx.example")).is_ok());
                assert!(holds(std::slice::from_ref(&own), &other, &host("mx.example")).is_err());
                let issuer = record(2, selector, matching, &ours[1]);
                assert!(holds(std::slice::from_ref(&issuer), &ours, &host("mx.example")).is_ok());
                assert!(holds(&[issuer], &other, &host("mx.example")).is_err());
            }
        }
    }

    #[test]
    fn an_authority_vouches_for_the_next_hops_name_alone_and_a_key_for_any() {
        let ours = chain();
        assert!(holds(&[record(2, 1, 1, &ours[1])], &ours, &host("other.example")).is_err());
        assert!(holds(&[record(3, 1, 1, &ours[0])], &ours, &host("other.example")).is_ok());
    }

    #[test]
    fn a_whole_authority_in_the_dns_need_not_be_shown() {
        let ours = chain();
        assert!(holds(&[record(2, 0, 0, &ours[1])], &ours[..1], &host("mx.example")).is_ok());
        assert!(holds(&[record(2, 0, 1, &ours[1])], &ours[..1], &host("mx.example")).is_err());
    }

    #[test]
    fn records_of_the_web_and_unknown_ones_prove_nothing() {
        let ours = chain();
        let (mut strange, mut unknown) = (record(3, 1, 1, &ours[0]), record(3, 1, 1, &ours[0]));
        (strange.selector, unknown.matching) = (7, 9);
        for useless in [record(0, 1, 1, &ours[1]), record(1, 1, 1, &ours[0]), strange, unknown] {
            assert!(holds(&[useless], &ours, &host("mx.example")).is_err());
        }
        assert!(holds(&[], &ours, &host("mx.example")).is_err());
        assert!(holds(&[record(3, 1, 1, &ours[0])], &[], &host("mx.example")).is_err());
    }
}
