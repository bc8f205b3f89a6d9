# frozen_string_literal: true

module LambdadRuntime
  # How errors look in answers and in the log.
  module Errors
    OWN_FILES = "/var/runtime/"

    module_function

    # place: Function or Init, where it was raised.
    def document(place, error)
      {
        errorMessage: printable(error.message),
        errorType: "#{place}<#{error.class}>",
        stackTrace: (error.backtrace || []).reject { |line| line.start_with?(OWN_FILES) }.map { |line| printable(line) }
      }
    end

    # What the process does not go on after: something is wrong with the code itself, or it wants to end.
    def critical?(error)
      error.is_a?(NameError) || !error.is_a?(StandardError)
    end

    def printable(text)
      text.to_s.encode(Encoding::UTF_8, invalid: :replace, undef: :replace)
    end
  end
end
