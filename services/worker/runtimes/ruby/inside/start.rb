# frozen_string_literal: true

module LambdadRuntime
  # How a prepared process becomes a function: one START frame, then a byte when the code is there.
  module Start
    STREAM_FD = 3
    GO_FD = 4
    HEADER = "NC" # the length of what follows, and its kind
    HEADER_BYTES = 5
    START = 1
    PREPARED = 16
    FRAME_BYTES_MAX = 7 * 1024 * 1024

    module_function

    # Block until the worker says what to run, and take on its environment.
    def wait
      stream, go = IO.for_fd(STREAM_FD, "r+b"), IO.for_fd(GO_FD, "rb")
      stream.syswrite([0, PREPARED].pack(HEADER))
      length, kind = read(stream, HEADER_BYTES).unpack(HEADER)
      exit!(70) if kind != START || length > FRAME_BYTES_MAX
      start = JSON.parse(read(stream, length))
      read(go, 1)
      stream.close
      go.close
      become(start.fetch("environment"))
    end

    def become(environment)
      ENV.replace(environment)
      Dir.chdir("/var/task")
      ARGV.clear
      # Read when Ruby starts, which was long ago.
      $LOAD_PATH.unshift(*ENV.fetch("RUBYLIB", "").split(":").reject(&:empty?))
      Gem.clear_paths if defined?(Gem)
    end

    # Ends the process when the worker hangs up.
    def read(from, length)
      data = from.read(length)
      exit!(0) if data.nil? || data.bytesize < length
      data
    end
  end
end
