//! [`Cluster`]: a PostgreSQL server for tests alone, from the programs of this machine's package, on a port of loopback and with files of
//! its own. It ends with whoever started it, however that ends.

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// Where Debian has the programs of each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// The server refuses to run as root. This user has no files of its own.
const NOBODY: u32 = 65_534;
const PASSWORD: &str = "of-tests-alone";

/// Makes the files and runs the server until nobody writes to this shell's input any more; `$1` is the folder, `$2` where the programs
/// are, `$3` the port.
const RUN: &str = r#"
set -e
"$2/initdb" --no-sync --username=geofilter --pwfile="$1/password" --auth=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 "$1/data" >"$1/log" 2>&1 || { cat "$1/log" >&2; exit 1; }
cat >>"$1/data/postgresql.conf" <<END
listen_addresses = '127.0.0.1'
port = $3
unix_socket_directories = '$1'
max_connections = 60
END
"$2/pg_ctl" --pgdata="$1/data" --log="$1/log" --wait --silent start >/dev/null </dev/null || { cat "$1/log" >&2; exit 1; }
echo ready
cat >/dev/null
"$2/pg_ctl" --pgdata="$1/data" --mode=immediate --silent stop >/dev/null 2>&1 || true
rm -rf "$1"
"#;

/// See the module.
pub struct Cluster {
    dir: PathBuf,
    programs: PathBuf,
    port: u16,
    /// Ends the server when its input does.
    shell: Child,
}

impl Cluster {
    /// One that runs, and has no database yet.
    ///
    /// # Errors
    /// If there is no such program here (`scripts/deps lab` installs it), or it does not start.
    pub fn start() -> io::Result<Self> {
        let programs = programs()?;
        let dir = tempfile::Builder::new().prefix("geofilter-postgres.").tempdir()?.keep();
        fs::write(dir.join("password"), PASSWORD)?;
        if rustix::process::geteuid().is_root() {
            for path in [dir.clone(), dir.join("password")] {
                chown(path, Some(NOBODY), Some(NOBODY))?;
            }
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut shell = as_nobody("sh");
        shell.args(["-c", RUN, "sh"]).arg(&dir).arg(&programs).arg(port.to_string());
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).current_dir("/");
        let mut shell = shell.spawn()?;
        let mut said = [0; 6];
        let ready = shell.stdout.take().map(|mut stdout| stdout.read_exact(&mut said));
        match ready {
            Some(Ok(())) => Ok(Self { dir, programs, port, shell }),
            _ => Err(io::Error::other(format!(
                "PostgreSQL did not start: {}",
                fs::read_to_string(dir.join("log")).unwrap_or_default()
            ))),
        }
    }

    /// One that all tests of this process share.
    ///
    /// # Panics
    /// If it does not start.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        #[expect(clippy::expect_used, reason = "a test fails by panicking")]
        SHARED.get_or_init(|| Self::start().expect("PostgreSQL for the tests"))
    }

    /// Makes a database of this name. Returns how a portal is told of it.
    ///
    /// # Errors
    /// If there is one already.
    pub fn create(&self, database: &str) -> io::Result<String> {
        self.sql("postgres", &format!("CREATE DATABASE {database}"))?;
        Ok(self.url(database))
    }

    /// How a portal is told of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://geofilter:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The number of the server's process.
    ///
    /// # Errors
    /// If it does not run.
    pub fn server(&self) -> io::Result<u32> {
        let said = fs::read_to_string(self.dir.join("data/postmaster.pid"))?;
        let number = said.lines().next().and_then(|line| line.trim().parse().ok());
        number.ok_or_else(|| io::Error::other("the server has no number"))
    }

    /// What SQL answers in a database: a line for a row, its columns with `|` between.
    ///
    /// # Errors
    /// If it fails.
    pub fn sql(&self, database: &str, sql: &str) -> io::Result<String> {
        let psql = Command::new(self.programs.join("psql"))
            .args(["--no-psqlrc", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"])
            .args(["--command", sql, &self.url(database)])
            .output()?;
        match psql.status.success() {
            true => Ok(String::from_utf8_lossy(&psql.stdout).trim().to_owned()),
            false => Err(io::Error::other(String::from_utf8_lossy(&psql.stderr).into_owned())),
        }
    }

    /// Ends the server at once, as a crash does. What was committed is there when it starts again.
    ///
    /// # Errors
    /// If it does not end.
    pub fn stop(&self) -> io::Result<()> {
        self.control(&["--mode=immediate", "stop"])
    }

    /// Starts it again.
    ///
    /// # Errors
    /// If it does not start.
    pub fn resume(&self) -> io::Result<()> {
        let log = self.dir.join("log");
        self.control(&["--wait", "start", "--log", &log.to_string_lossy()])
    }

    fn control(&self, arguments: &[&str]) -> io::Result<()> {
        let mut control = as_nobody(&self.programs.join("pg_ctl").to_string_lossy());
        control.arg("--silent").arg("--pgdata").arg(self.dir.join("data")).args(arguments);
        // The server would keep a pipe open.
        control.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).current_dir("/");
        match control.status()?.success() {
            true => Ok(()),
            false => Err(io::Error::other(format!("pg_ctl {} failed", arguments.join(" ")))),
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut stdin) = self.shell.stdin.take() {
            let _ = stdin.flush();
        }
        let _ = self.shell.wait();
    }
}

fn as_nobody(program: &str) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    let nobody = NOBODY.to_string();
    command.args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups", "--", program]);
    command
}

/// Those of the newest version.
fn programs() -> io::Result<PathBuf> {
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().filter_map(Result::ok);
    let newest = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path())))
        .map(|(version, path)| (version, path.join("bin")))
        .filter(|(_, path)| Path::new(path).join("initdb").exists())
        .max();
    newest.map(|(_, path)| path).ok_or_else(|| {
        io::Error::other(format!(
            "there is no PostgreSQL server in {VERSIONS}: `scripts/deps lab` installs it"
        ))
    })
}
