package example;

public class Broken {
    public Broken() {
        throw new IllegalStateException("not today");
    }

    public Object handle(Object event) {
        return event;
    }
}
