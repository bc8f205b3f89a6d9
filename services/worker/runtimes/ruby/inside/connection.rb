# frozen_string_literal: true

require "socket"

module LambdadRuntime
  # One HTTP/1.1 connection to the Runtime API, on a bare socket: functions patch Net::HTTP, and what traces or mocks their calls
  # would see the runtime's, or break them.
  class Connection
    Answer = Struct.new(:status, :headers, :body)

    def initialize(host, port)
      @socket = TCPSocket.new(host, port)
      @socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1)
      @socket.binmode
    end

    # Raises IOError or SystemCallError when the connection breaks. Waits as long as it takes.
    def call(head, body)
      @socket.write(head, body)
      read_answer
    end

    def close
      @socket.close
    end

    private

    def read_answer
      status = Integer(line.split(" ", 3)[1])
      headers = {}
      until (text = line).empty?
        name, value = text.split(":", 2)
        headers[name.downcase] = value.strip
      end
      length = Integer(headers.fetch("content-length", "0"))
      body = length.zero? ? "" : @socket.read(length)
      raise EOFError, "the answer ended early" if body.nil? || body.bytesize < length

      Answer.new(status, headers, body)
    end

    def line
      text = @socket.gets("\r\n")
      raise EOFError, "the connection was closed" if text.nil?

      text.chomp("\r\n").force_encoding(Encoding::UTF_8)
    end
  end
end
