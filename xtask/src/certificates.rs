//! Certificates for one run of a step, made by `openssl` in the build folder: nothing of them is committed, and none is used twice.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{gate::Failure, process};

const LIMIT: Duration = Duration::from_secs(60);

/// What `openssl req` reads instead of the system's file, which adds extensions of its own.
const CONFIG: &str = "[req]\ndistinguished_name=name\n[name]\n";

/// An authority and certificates that it issued, and the same of an authority that is not trusted. Each file has the certificate and,
/// behind it, its private key.
pub(crate) struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Makes all of them, below `folder`.
    pub(crate) fn make(folder: &Path) -> Result<Self, Failure> {
        let folder = folder.join("certificates");
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let config = folder.join("openssl.cnf");
        fs::write(&config, CONFIG).map_err(|error| format!("{}: {error}", config.display()))?;
        let all = Self { folder };
        all.authority("authority")?;
        all.authority("stranger")?;
        all.issue("server", "authority", "DNS:localhost,IP:127.0.0.1")?;
        all.issue("elsewhere", "authority", "DNS:elsewhere.example")?;
        all.issue("client", "authority", "DNS:client.example")?;
        all.issue("impostor", "stranger", "DNS:client.example")?;
        all.encrypt("client")?;
        Ok(all)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whom to trust.
    pub(crate) fn trusted(&self) -> PathBuf {
        self.file("authority")
    }

    /// An authority that is not trusted.
    pub(crate) fn stranger(&self) -> PathBuf {
        self.file("stranger")
    }

    /// Of a server at `localhost` and 127.0.0.1.
    pub(crate) fn server(&self) -> PathBuf {
        self.file("server")
    }

    /// Of a server at another name.
    pub(crate) fn elsewhere(&self) -> PathBuf {
        self.file("elsewhere")
    }

    /// Of a client.
    pub(crate) fn client(&self) -> PathBuf {
        self.file("client")
    }

    /// Of a client, by the authority that is not trusted.
    pub(crate) fn impostor(&self) -> PathBuf {
        self.file("impostor")
    }

    /// The pin of the server's key, without `sha256//`.
    pub(crate) fn server_pin(&self) -> Result<String, Failure> {
        let script = "openssl x509 -in \"$0\" -noout -pubkey | openssl pkey -pubin -outform der | openssl sha256 -binary | base64";
        let mut command = Command::new("bash");
        command.args(["-o", "pipefail", "-c", script]).arg(self.server());
        let output = process::read(&mut command, LIMIT)?;
        match (output.status.success(), &output.lines[..]) {
            (true, [pin]) => Ok(pin.clone()),
            _ => Err(format!("no pin of {}: {}", self.server().display(), output.lines.join("\n")).into()),
        }
    }

    /// The key of `name` once more, in `encrypted.key`, which wants a password.
    fn encrypt(&self, name: &str) -> Result<(), Failure> {
        let mut command = Command::new("openssl");
        command
            .args(["pkey", "-aes128", "-passout", "pass:password", "-in"])
            .arg(self.folder.join(format!("{name}.key")));
        command.arg("-out").arg(self.folder.join("encrypted.key"));
        process::read(&mut command, LIMIT)?.success(&process::shown(&command))?;
        Ok(())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.pem"))
    }

    fn authority(&self, name: &str) -> Result<(), Failure> {
        let extensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"];
        self.request(name, &extensions, &mut self.openssl())
    }

    fn issue(&self, name: &str, issuer: &str, names: &str) -> Result<(), Failure> {
        let names = format!("subjectAltName={names}");
        let extensions = [
            "basicConstraints=critical,CA:FALSE",
            "keyUsage=critical,digitalSignature",
            "extendedKeyUsage=serverAuth,clientAuth",
            "authorityKeyIdentifier=keyid",
            names.as_str(),
        ];
        let mut command = self.openssl();
        command.arg("-CA").arg(self.file(issuer)).arg("-CAkey").arg(self.file(issuer));
        self.request(name, &extensions, &mut command)
    }

    fn openssl(&self) -> Command {
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]);
        // More than the thirty days from which on servers warn of its end.
        command.args(["-days", "60"]).arg("-config").arg(self.folder.join("openssl.cnf"));
        command
    }

    fn request(&self, name: &str, extensions: &[&str], command: &mut Command) -> Result<(), Failure> {
        let (key, file) = (self.folder.join(format!("{name}.key")), self.file(name));
        command.args(["-subj", &format!("/CN=Sockeye {name}")]).arg("-keyout").arg(&key).arg("-out").arg(&file);
        command.args(extensions.iter().flat_map(|extension| ["-addext", extension]));
        let output = process::read(command, LIMIT)?;
        if !output.status.success() {
            return Err(format!("`{}` failed:\n{}", process::shown(command), output.lines.join("\n")).into());
        }
        let read = |path: &Path| fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
        let both = read(&file)? + &read(&key)?;
        fs::write(&file, both).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(())
    }
}
