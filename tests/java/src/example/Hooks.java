package example;

import com.amazonaws.services.lambda.crac.Context;
import com.amazonaws.services.lambda.crac.Core;
import com.amazonaws.services.lambda.crac.Resource;
import java.util.ArrayList;
import java.util.List;

/** A function that wants to be told of snapshots. */
public class Hooks implements Resource {
    private final List<String> told = new ArrayList<>();

    public Hooks() {
        Core.getGlobalContext().register(this);
    }

    public List<String> handle(Object event) {
        return told;
    }

    @Override
    public void beforeCheckpoint(Context<? extends Resource> context) {
        told.add("before a checkpoint");
    }

    @Override
    public void afterRestore(Context<? extends Resource> context) {
        told.add("after it was restored");
    }
}
