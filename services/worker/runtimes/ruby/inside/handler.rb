# frozen_string_literal: true

module LambdadRuntime
  # From the Handler setting to a method.
  class Handler
    attr_reader :file

    # setting: FILE.METHOD or FILE.CLASS.METHOD. Raises ArgumentError.
    def initialize(setting)
      parts = setting.split(".")
      raise ArgumentError, malformed(parts) unless [2, 3].include?(parts.size)

      @file, @method = parts.first, parts.last
      @owner = parts[1] if parts.size == 3
    end

    # Raises whatever the function's code raises.
    def load(root)
      $LOAD_PATH.unshift(root) unless $LOAD_PATH.include?(root)
      require @file
    end

    def call(event, context)
      receiver = @owner.nil? ? TOPLEVEL_BINDING.receiver : Kernel.const_get(@owner)
      receiver.__send__(@method, event: event, context: context)
    end

    private

    def malformed(parts)
      "Invalid handler #{parts}, must be of form FILENAME.METHOD or FILENAME.CLASS.METHOD where FILENAME corresponds with an " \
        "existing Ruby source file FILENAME.rb, CLASS is an optional module/class namespace and METHOD is a callable method. If " \
        "using CLASS, METHOD must be a class-level method."
    end
  end
end
