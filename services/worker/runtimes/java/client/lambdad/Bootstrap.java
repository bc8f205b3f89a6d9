package lambdad;

import com.amazonaws.services.lambda.runtime.api.client.AWSLambda;
import java.util.Map;
import java.util.TimeZone;

/**
 * A Java virtual machine that was started ahead of need: it warms up, says so, waits for its function, and is AWS's runtime client
 * from then on. With an argument it is started for its archive of loaded classes, and rehearses a function.
 */
public final class Bootstrap {
    private Bootstrap() {}

    public static void main(String[] arguments) throws Throwable {
        WarmUp.run();
        become(arguments.length == 0 ? Start.await() : Rehearsal.begin());
    }

    private static void become(Map<String, String> variables) throws Throwable {
        Variables.replace(variables);
        System.clearProperty("user.timezone");
        TimeZone.setDefault(null); // Found again by TZ, when it is asked for.
        String[] handler = {variables.get("_HANDLER")};
        if (TraceVariable.wanted()) {
            TraceVariable.main(handler);
        } else {
            AWSLambda.main(handler);
        }
    }
}
