package lambdad;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.util.Map;

/** A function as most are, to warm up with. */
public final class Example implements RequestHandler<Map<String, Object>, Object> {
    @Override
    public Object handleRequest(Map<String, Object> event, Context context) {
        if (event.containsKey("fail")) {
            throw new IllegalArgumentException("as rehearsed");
        }
        context.getLogger().log(context.getAwsRequestId());
        return event;
    }

    /** One that is named by its method, and whose event is an object. */
    public Example change(Example event) {
        return event;
    }

    public String getName() {
        return "example";
    }

    public void setName(String name) {}
}
