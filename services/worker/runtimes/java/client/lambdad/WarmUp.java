package lambdad;

import com.amazonaws.services.lambda.runtime.api.client.EventHandlerLoader;
import com.amazonaws.services.lambda.runtime.api.client.HandlerInfo;
import com.amazonaws.services.lambda.runtime.api.client.UserFault;
import com.amazonaws.services.lambda.runtime.api.client.runtimeapi.LambdaRuntimeApiClientImpl;
import com.amazonaws.services.lambda.runtime.serialization.PojoSerializer;
import com.amazonaws.services.lambda.runtime.serialization.events.LambdaEventSerializers;
import com.amazonaws.services.lambda.runtime.serialization.factories.JacksonFactory;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.security.Security;
import java.util.List;
import java.util.Map;

/**
 * What would be done for the first time while a function starts, done before: classes initialised, and code of the runtime client run.
 * Nothing here may ask for a variable, or use a class of the client's that remembers one: there are none yet.
 */
final class WarmUp {
    private static final byte[] EVENT =
            "{\"name\":\"a\",\"list\":[1,2.5,true,null,\"\\u00e4\",{\"key\":\"value\"}]}".getBytes(StandardCharsets.UTF_8);
    private static final int ROUNDS = 20;
    private static final String SECURITY = "jdk.tls.disabledAlgorithms";
    private static final String API = "169.254.100.1:9001";
    private static final String TASK = "file:/var/task/";
    private static final String JAR = "file:/var/runtime/lib/annotations.jar";

    private WarmUp() {}

    static void run() throws Exception {
        new LambdaRuntimeApiClientImpl(API); // Loads the native library.
        Security.setProperty(SECURITY, Security.getProperty(SECURITY));
        LambdaEventSerializers.isLambdaSupportedEvent("none");
        UserFault.makeUserFault(UserFault.filterStackTrace(new IllegalStateException("warm"))).reportableError();
        loadClasses();
        for (int round = 0; round < ROUNDS; round++) {
            // Not a handler of objects: for those the loader asks AWSLambda, which asks for variables.
            EventHandlerLoader.loadEventHandler(HandlerInfo.fromString("lambdad.Copy", WarmUp.class.getClassLoader()));
            for (Class<?> type : List.of(Map.class, Object.class, Example.class)) {
                convert(JacksonFactory.getInstance().getSerializer(type));
            }
        }
    }

    @SuppressWarnings("unchecked")
    private static void convert(PojoSerializer<?> serializer) {
        Object value = serializer.fromJson(new ByteArrayInputStream(EVENT));
        ((PojoSerializer<Object>) serializer).toJson(value, new ByteArrayOutputStream());
    }

    /** As the client does, from a folder and from a jar. */
    private static void loadClasses() throws Exception {
        try (URLClassLoader loader = new URLClassLoader(new URL[] {new URL(TASK), new URL(JAR)}, ClassLoader.getPlatformClassLoader())) {
            loader.loadClass("software.amazon.awssdk.annotations.Immutable");
            loader.loadClass("lambdad.Missing");
        } catch (ClassNotFoundException e) {
            // As it should be.
        }
    }
}
