package lambdad;

import java.lang.reflect.Field;
import sun.misc.Unsafe;

/** The memory of this process, as it is. */
final class Memory {
    static final Unsafe UNSAFE = unsafe();

    private Memory() {}

    private static Unsafe unsafe() {
        try {
            Field field = Unsafe.class.getDeclaredField("theUnsafe");
            field.setAccessible(true);
            return (Unsafe) field.get(null);
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }
}
