package lambdad;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.Map;
import sun.misc.Unsafe;

/**
 * The variables of this process, for all of it: System.getenv, native libraries and the programs that it starts.
 *
 * <p>Java has no way to set one. But the array that the C library's environ points to lies at the foot of the stack, where the kernel
 * put it, with a place for each variable that the process was executed with: room for the function's, if it was executed with
 * enough. Nothing may have asked System.getenv before: it remembers what it read first.
 */
final class Variables {
    /** Fields of /proc/self/stat, counted from the one behind the program's name. */
    private static final int STACK_START = 25;

    private static final int ENVIRONMENT_START = 47;
    private static final Unsafe MEMORY = Memory.UNSAFE;
    private static final int WORD = 8;

    private Variables() {}

    static void replace(Map<String, String> variables) throws IOException {
        String stat = new String(Files.readAllBytes(Paths.get("/proc/self/stat")), StandardCharsets.US_ASCII);
        String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
        long stack = Long.parseLong(fields[STACK_START]);
        long first = stack + WORD * (MEMORY.getLong(stack) + 2); // Behind the count of arguments, these, and a null.
        if (MEMORY.getLong(first) != Long.parseLong(fields[ENVIRONMENT_START])) {
            throw new IllegalStateException("the variables are not where the kernel puts them");
        }
        int places = 0;
        while (MEMORY.getLong(first + (long) WORD * places) != 0) {
            places++;
        }
        if (variables.size() > places) {
            throw new IllegalStateException(variables.size() + " variables do not fit into " + places + " places");
        }
        long place = first;
        for (Map.Entry<String, String> variable : variables.entrySet()) {
            MEMORY.putLong(place, text(variable.getKey().concat("=").concat(variable.getValue())));
            place += WORD;
        }
        MEMORY.putLong(place, 0);
    }

    /** A C string that is never freed. */
    private static long text(String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        long address = MEMORY.allocateMemory(bytes.length + 1L);
        MEMORY.copyMemory(bytes, Unsafe.ARRAY_BYTE_BASE_OFFSET, null, address, bytes.length);
        MEMORY.putByte(address + bytes.length, (byte) 0);
        return address;
    }
}
