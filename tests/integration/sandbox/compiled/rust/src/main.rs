//! A function in Rust, on the standard library alone: speaks the Runtime API by itself and echoes its event.

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

const PREFIX: &str = "/2018-06-01/runtime/invocation";

fn main() -> std::io::Result<()> {
    let api = env::var("AWS_LAMBDA_RUNTIME_API").expect("runs on Lambda");
    let mut connection = BufReader::new(TcpStream::connect(&api)?);
    loop {
        send(&mut connection, &format!("GET {PREFIX}/next HTTP/1.1\r\nHost: {api}\r\n\r\n"), b"")?;
        let (id, event) = receive(&mut connection)?;
        let failed = event == b"\"fail\"";
        let (path, body) = if failed {
            ("error", br#"{"errorType":"Failed","errorMessage":"it was told to"}"#.to_vec())
        } else {
            ("response", event)
        };
        let head = format!("POST {PREFIX}/{id}/{path} HTTP/1.1\r\nHost: {api}\r\nContent-Length: {}\r\n\r\n", body.len());
        send(&mut connection, &head, &body)?;
        receive(&mut connection)?;
    }
}

fn send(connection: &mut BufReader<TcpStream>, head: &str, body: &[u8]) -> std::io::Result<()> {
    let stream = connection.get_mut();
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)
}

/// The request id, if the answer has one, and the body.
fn receive(connection: &mut BufReader<TcpStream>) -> std::io::Result<(String, Vec<u8>)> {
    let (mut id, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line)? == 0 {
            std::process::exit(0);
        }
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            if line.trim_end().is_empty() {
                break;
            }
            continue;
        };
        match name.to_ascii_lowercase().as_str() {
            "lambda-runtime-aws-request-id" => id = value.to_string(),
            "content-length" => length = value.parse().expect("a number"),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    Ok((id, body))
}
