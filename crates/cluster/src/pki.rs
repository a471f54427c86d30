//! Who is who in a cluster: a certificate authority and what it signs.
//!
//! Everything is valid from 2020 to 2120, because a copy of an environment may
//! be started long after it was made, and because none of it is ever reachable
//! from outside this machine.

use std::net::{IpAddr, Ipv4Addr};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

use sha2::{Digest as _, Sha256};

use crate::layout::{ClusterAt, NodeAt};

/// A certificate and its key, PEM.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// All keys and certificates of a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Pki {
    /// The authority, with its key: controller-manager signs with it too.
    pub(crate) authority: Pair,
    /// The API server, to its clients.
    pub(crate) api_server: Pair,
    /// May do everything: the administrator, and the parts that have to work
    /// before roles exist.
    pub(crate) master: Pair,
    pub(crate) controller_manager: Pair,
    pub(crate) scheduler: Pair,
    /// Each node's kubelet, as client and as server.
    pub(crate) kubelets: Vec<Pair>,
    /// Signs tokens of ServiceAccounts.
    pub(crate) account_key: String,
    pub(crate) account_public_key: String,
    /// Stands for the master where a certificate cannot be used.
    pub(crate) master_token: String,
}

/// Makes the keys of `cluster`, whose nodes are `nodes`.
pub(crate) fn issue(cluster: ClusterAt, nodes: &[NodeAt]) -> Result<Pki, rcgen::Error> {
    let authority_key = KeyPair::generate()?;
    let mut params = params("seatrial", None);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
    ];
    let certificate = params.self_signed(&authority_key)?.pem();
    let authority = Pair { certificate, key: authority_key.serialize_pem() };
    let issuer = Issuer::new(params, authority_key);

    let account = KeyPair::generate()?;
    let client = |name: &str, group: Option<&str>| sign(self::params(name, group), &issuer);
    // As hard to guess as the key that it is made of.
    let secret = KeyPair::generate()?.serialize_der();
    Ok(Pki {
        master_token: hex::encode(Sha256::digest(secret)),
        api_server: sign(api_server(cluster), &issuer)?,
        master: client("seatrial-master", Some("system:masters"))?,
        controller_manager: client("system:kube-controller-manager", None)?,
        scheduler: client("system:kube-scheduler", None)?,
        kubelets: nodes.iter().map(|at| sign(kubelet(*at), &issuer)).collect::<Result<_, _>>()?,
        account_key: account.serialize_pem(),
        account_public_key: account.public_key_pem(),
        authority,
    })
}

fn api_server(cluster: ClusterAt) -> CertificateParams {
    let mut params = params("kube-apiserver", None);
    let addresses = [Ipv4Addr::LOCALHOST, cluster.first_node().address(), cluster.api_service()];
    params.subject_alt_names = addresses.map(|ip| SanType::IpAddress(IpAddr::V4(ip))).to_vec();
    let names = ["", ".default", ".default.svc", ".default.svc.cluster.local"];
    let names = names.map(|suffix| format!("kubernetes{suffix}"));
    for name in names.into_iter().chain(["localhost".to_owned()]) {
        params.subject_alt_names.extend(name.try_into().map(SanType::DnsName));
    }
    params
}

fn kubelet(at: NodeAt) -> CertificateParams {
    let mut params = params(&format!("system:node:{}", at.name()), Some("system:nodes"));
    params.subject_alt_names = vec![SanType::IpAddress(IpAddr::V4(at.address()))];
    params.subject_alt_names.extend(at.name().try_into().map(SanType::DnsName));
    params
}

fn params(name: &str, group: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    params
}

fn sign(mut params: CertificateParams, issuer: &Issuer<'_, KeyPair>) -> Result<Pair, rcgen::Error> {
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, issuer)?.pem();
    Ok(Pair { certificate, key: key.serialize_pem() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;

    #[test]
    fn everyone_gets_a_pair_of_their_own() {
        let layout = Layout::new(&[1, 2]).unwrap();
        let cluster = ClusterAt(1);
        let pki = issue(cluster, &layout.nodes_of(cluster)).unwrap();
        assert_eq!(pki.kubelets.len(), 2);
        assert!(pki.account_public_key.starts_with("-----BEGIN PUBLIC KEY-----"));
        assert_ne!(pki.kubelets[0].key, pki.kubelets[1].key);
        assert_ne!(pki.master.certificate, pki.scheduler.certificate);
    }
}
