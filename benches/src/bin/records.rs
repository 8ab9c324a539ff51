//! What rustls alone costs for the records of an echo: a session of a server, in memory, that opens what a client sealed, and
//! seals the answers, over and over. `cargo xtask bench tls` counts the instructions below [`echo_once`] and nothing else.

#![forbid(unsafe_code)]

use std::{error::Error, io::Write, path::PathBuf, process::ExitCode, sync::Arc};

use clap::Parser;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::UnbufferedServerConnection,
    unbuffered::{ConnectionState, UnbufferedStatus},
};

/// What rustls alone costs.
#[derive(Debug, Parser)]
struct Options {
    /// A certificate for `localhost` that is trusted as it is.
    #[arg(long)]
    certificate: PathBuf,
    #[arg(long)]
    key: PathBuf,
    /// How many bytes of plaintext come at a time, in as few records as can be.
    #[arg(long)]
    opened: usize,
    /// How many bytes of plaintext go back.
    #[arg(long)]
    sealed: usize,
    #[arg(long)]
    rounds: usize,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(suite) => {
            println!("suite={suite}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("records: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<String, Box<dyn Error>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let certificate = CertificateDer::from_pem_file(&options.certificate)?;
    let mut client = client(&provider, &certificate)?;
    let key = PrivateKeyDer::from_pem_file(&options.key)?;
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = config.with_no_client_auth().with_single_cert(vec![certificate], key)?;
    let mut server = UnbufferedServerConnection::new(Arc::new(config))?;
    shake_hands(&mut client, &mut server)?;
    let (question, answer) = (vec![7; options.opened], vec![8; options.sealed]);
    // As much as records add, and more.
    let mut out = vec![0; options.sealed + (options.sealed / 16_384 + 1) * 64];
    let mut sealed = Vec::new();
    for _ in 0..options.rounds {
        client.writer().write_all(&question)?;
        sealed.clear();
        while client.wants_write() {
            client.write_tls(&mut sealed)?;
        }
        let opened = echo_once(&mut server, &mut sealed, &answer, &mut out)?;
        if opened != question.len() {
            return Err("not all was opened".into());
        }
    }
    Ok(format!("{:?}", client.negotiated_cipher_suite().map(|suite| suite.suite())))
}

fn client(provider: &Arc<CryptoProvider>, root: &CertificateDer<'static>) -> Result<ClientConnection, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone())?;
    let config = ClientConfig::builder_with_provider(Arc::clone(provider)).with_safe_default_protocol_versions()?;
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), "localhost".try_into()?)?;
    client.set_buffer_limit(None);
    Ok(client)
}

fn shake_hands(client: &mut ClientConnection, server: &mut UnbufferedServerConnection) -> Result<(), Box<dyn Error>> {
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    loop {
        while client.wants_write() {
            client.write_tls(&mut to_server)?;
        }
        let UnbufferedStatus { discard, state } = server.process_tls_records(&mut to_server);
        let mut is_done = false;
        match state? {
            ConnectionState::EncodeTlsData(mut message) => {
                let at = to_client.len();
                to_client.resize(at + 32 * 1024, 0);
                let written = message.encode(&mut to_client[at..])?;
                to_client.truncate(at + written);
            }
            ConnectionState::TransmitTlsData(message) => message.done(),
            ConnectionState::WriteTraffic(_) => is_done = true,
            ConnectionState::BlockedHandshake => {}
            _ => return Err("a state that does not belong to a handshake".into()),
        }
        to_server.drain(..discard);
        let mut rest = to_client.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest)?;
            client.process_new_packets()?;
        }
        to_client.clear();
        if is_done && !client.is_handshaking() && !client.wants_write() && to_server.is_empty() {
            return Ok(());
        }
    }
}

/// Opens what was sealed, and seals the answer. Returns how many bytes were opened. Nothing less can be done with this
/// interface.
#[inline(never)]
fn echo_once(
    server: &mut UnbufferedServerConnection,
    mut sealed: &mut [u8],
    answer: &[u8],
    out: &mut [u8],
) -> Result<usize, Box<dyn Error>> {
    let mut opened = 0;
    loop {
        let UnbufferedStatus { mut discard, state } = server.process_tls_records(sealed);
        match state? {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard += record.discard;
                    opened += record.payload.len();
                }
            }
            ConnectionState::WriteTraffic(mut traffic) => {
                traffic.encrypt(answer, out)?;
                return Ok(opened);
            }
            _ => return Err("a state that does not belong to traffic".into()),
        }
        sealed = sealed.split_at_mut(discard).1;
    }
}
