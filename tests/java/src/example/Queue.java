package example;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import com.amazonaws.services.lambda.runtime.events.SQSBatchResponse;
import com.amazonaws.services.lambda.runtime.events.SQSEvent;
import java.util.List;

/** AWS's classes of events, whose members are spelled otherwise than those of the event. */
public class Queue implements RequestHandler<SQSEvent, SQSBatchResponse> {
    @Override
    public SQSBatchResponse handleRequest(SQSEvent event, Context context) {
        SQSEvent.SQSMessage message = event.getRecords().get(0);
        String found = message.getBody() + " " + message.getEventSourceArn();
        return new SQSBatchResponse(List.of(new SQSBatchResponse.BatchItemFailure(found)));
    }
}
