package lambdad;

import com.amazonaws.services.lambda.runtime.api.client.AWSLambda;
import java.lang.reflect.Field;
import java.util.Map;
import java.util.Properties;

/**
 * AWS's runtime client with the trace header in _X_AMZN_TRACE_ID, where functions of its older Java runtimes find it. The client itself
 * sets a property before each invocation, as is enough for those of 17 and later: these properties hand it on to System.getenv.
 */
public final class TraceVariable extends Properties {
    private static final long serialVersionUID = 1;
    private static final int LAST_JAVA = 16;
    private static final String PROPERTY = "com.amazonaws.xray.traceHeader";
    private static final String VARIABLE = "_X_AMZN_TRACE_ID";

    private final transient Map<String, String> variables;

    private TraceVariable(Properties properties, Map<String, String> variables) {
        this.variables = variables;
        putAll(properties);
    }

    static boolean wanted() {
        return Runtime.version().feature() <= LAST_JAVA;
    }

    public static void main(String[] arguments) throws Throwable {
        System.setProperties(new TraceVariable(System.getProperties(), changeable(System.getenv())));
        AWSLambda.main(arguments);
    }

    @Override
    public synchronized Object setProperty(String name, String value) {
        if (name.equals(PROPERTY)) {
            variables.put(VARIABLE, value);
        }
        return super.setProperty(name, value);
    }

    @Override
    public synchronized Object remove(Object name) {
        if (PROPERTY.equals(name)) {
            variables.remove(VARIABLE);
        }
        return super.remove(name);
    }

    /** The map behind an unmodifiable one. */
    @SuppressWarnings("unchecked")
    private static Map<String, String> changeable(Map<String, String> unmodifiable) throws NoSuchFieldException {
        Field inner = unmodifiable.getClass().getDeclaredField("m");
        return (Map<String, String>) Memory.UNSAFE.getObject(unmodifiable, Memory.UNSAFE.objectFieldOffset(inner));
    }
}
