package example;

import com.amazonaws.services.lambda.runtime.Context;
import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TimeZone;
import java.util.concurrent.TimeUnit;

/** Handlers that are named by their method, and what they find around them. */
public class Functions {
    private int count;

    public Map<String, Object> count(Map<String, Object> event) {
        count += 1;
        return Map.of("count", count, "event", event);
    }

    public String upper(String event) {
        return event.toUpperCase();
    }

    public int increment(int event) {
        return event + 1;
    }

    public List<Integer> sort(List<Integer> event) {
        List<Integer> sorted = new ArrayList<>(event);
        sorted.sort(null);
        return sorted;
    }

    public void nothing(Object event) {}

    public Person greet(Person event, Context context) {
        Person person = new Person();
        person.setName("Hello " + event.getName());
        person.setAge(event.getAge() + 1);
        return person;
    }

    public Object context(Object event, Context context) {
        Map<String, Object> found = new LinkedHashMap<>();
        found.put("id", context.getAwsRequestId());
        found.put("name", context.getFunctionName());
        found.put("version", context.getFunctionVersion());
        found.put("arn", context.getInvokedFunctionArn());
        found.put("memory", context.getMemoryLimitInMB());
        found.put("group", context.getLogGroupName());
        found.put("stream", context.getLogStreamName());
        found.put("left", context.getRemainingTimeInMillis());
        found.put("custom", context.getClientContext() == null ? null : context.getClientContext().getCustom());
        return found;
    }

    public Object around(String file, Context context) throws Exception {
        Map<String, Object> found = new LinkedHashMap<>();
        found.put("java", Runtime.version().feature());
        found.put("heap", Runtime.getRuntime().maxMemory());
        found.put("hello", System.getenv("Hello"));
        found.put("variables", System.getenv().keySet());
        found.put("child", run("/bin/sh", "-c", "echo $Hello; pwd"));
        found.put("folder", new File(".").getCanonicalPath());
        found.put("zone", TimeZone.getDefault().getID());
        found.put("option", System.getProperty("option"));
        found.put("encoding", System.getProperty("file.encoding"));
        found.put("main", Thread.currentThread().getName());
        try (InputStream relative = new FileInputStream(file)) {
            found.put("file", new String(relative.readAllBytes(), StandardCharsets.UTF_8));
        }
        return found;
    }

    /** Every variable, and the folder as `cwd`. */
    public Map<String, String> everything(Object event) {
        Map<String, String> found = new LinkedHashMap<>(System.getenv());
        found.put("cwd", new File("").getAbsolutePath());
        return found;
    }

    public Object trace(Object event) {
        Map<String, Object> found = new LinkedHashMap<>();
        found.put("property", System.getProperty("com.amazonaws.xray.traceHeader"));
        found.put("variable", System.getenv("_X_AMZN_TRACE_ID"));
        found.put("listed", System.getenv().containsKey("_X_AMZN_TRACE_ID"));
        return found;
    }

    /** Everything of a name on the class path, in its order. */
    public List<String> resources(String name) throws IOException {
        List<String> found = new ArrayList<>();
        for (URL place : Collections.list(Functions.class.getClassLoader().getResources(name))) {
            try (InputStream file = place.openStream()) {
                found.add(new String(file.readAllBytes(), StandardCharsets.UTF_8));
            }
        }
        return found;
    }

    public Object log(Object event, Context context) {
        System.out.println("printed\non two lines");
        System.err.println("an error's line");
        context.getLogger().log("logged\non two lines\n");
        return null;
    }

    public Object fail(String message) {
        throw message == null ? new IllegalStateException() : new IllegalArgumentException("no: " + message, new IOException("cause"));
    }

    public Object hang(Object event) throws InterruptedException {
        TimeUnit.HOURS.sleep(1);
        return null;
    }

    public Object exit(int status) {
        System.exit(status);
        return null;
    }

    public Object fill(Object event) {
        List<byte[]> kept = new ArrayList<>();
        while (true) {
            kept.add(new byte[1 << 20]);
        }
    }

    private Object invisible(Object event) {
        return event;
    }

    private static String run(String... command) throws Exception {
        Process process = new ProcessBuilder(command).start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        process.waitFor();
        return output;
    }
}
