package lambdad;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;

/**
 * A few invocations of the example by a Runtime API that is here, in the same machine, so that everything a function's start and its
 * first events load is in the archive. It ends the machine.
 */
final class Rehearsal implements Runnable {
    private static final String[] EVENTS = {"{\"a\": [1]}", "{\"b\": \"c\"}", "{\"fail\": true}"};
    private static final String HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            + "Lambda-Runtime-Aws-Request-Id: 8e1b3b2a-0000-4000-8000-000000000000\r\nLambda-Runtime-Deadline-Ms: 4102444800000\r\n"
            + "Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:000000000000:function:example\r\n"
            + "Lambda-Runtime-Trace-Id: Root=1-00000000-000000000000000000000000\r\nContent-Length: ";
    private static final String DONE = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";

    private final ServerSocket server;
    private int sent;

    private Rehearsal(ServerSocket server) {
        this.server = server;
    }

    /** Serve in the background: the variables of the function that is to be. */
    static Map<String, String> begin() throws IOException {
        ServerSocket server = new ServerSocket(0, 1, InetAddress.getLoopbackAddress());
        inBackground(new Rehearsal(server));
        Map<String, String> variables = new HashMap<>();
        variables.put("_HANDLER", "lambdad.Example");
        variables.put("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:" + server.getLocalPort());
        variables.put("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128");
        variables.put("AWS_LAMBDA_FUNCTION_NAME", "example");
        variables.put("AWS_LAMBDA_FUNCTION_VERSION", "1");
        variables.put("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand");
        variables.put("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/example");
        variables.put("AWS_LAMBDA_LOG_STREAM_NAME", "example");
        variables.put("_LAMBDA_TELEMETRY_LOG_FD", "1");
        return variables;
    }

    @Override
    public void run() {
        try {
            while (true) {
                Socket client = server.accept(); // Errors come by a connection of their own.
                inBackground(() -> serve(client));
            }
        } catch (IOException e) {
            Runtime.getRuntime().halt(1);
        }
    }

    private static void inBackground(Runnable work) {
        Thread thread = new Thread(work);
        thread.setDaemon(true);
        thread.start();
    }

    private void serve(Socket client) {
        try {
            answerAll(client);
        } catch (IOException e) {
            Runtime.getRuntime().halt(1);
        }
    }

    private void answerAll(Socket client) throws IOException {
        BufferedReader requests = new BufferedReader(new InputStreamReader(client.getInputStream(), StandardCharsets.ISO_8859_1));
        OutputStream answers = client.getOutputStream();
        for (String request = requests.readLine(); request != null; request = requests.readLine()) {
            int length = 0;
            for (String line = requests.readLine(); !line.isEmpty(); line = requests.readLine()) {
                if (line.toLowerCase().startsWith("content-length:")) {
                    length = Integer.parseInt(line.substring("content-length:".length()).trim());
                }
            }
            requests.skip(length);
            answers.write(answer(request).getBytes(StandardCharsets.ISO_8859_1));
        }
    }

    private String answer(String request) {
        if (!request.startsWith("GET ")) {
            return DONE;
        }
        if (sent == EVENTS.length) {
            Runtime.getRuntime().exit(0);
        }
        String event = EVENTS[sent++];
        return HEAD + event.length() + "\r\n\r\n" + event;
    }
}
