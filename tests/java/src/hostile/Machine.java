package hostile;

import com.sun.tools.attach.VirtualMachine;
import com.sun.tools.attach.VirtualMachineDescriptor;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import sun.misc.Unsafe;

/** What Java brings along to look at other machines, to get into them, and to leave things lying about. */
public class Machine {
    public Map<String, Object> look(Object event) throws Exception {
        Map<String, Object> found = new LinkedHashMap<>();
        found.put("own", ProcessHandle.current().pid());
        found.put("processes", ProcessHandle.allProcesses().map(ProcessHandle::pid).sorted().collect(Collectors.toList()));
        found.put("tmp", everythingIn(Paths.get("/tmp")));
        found.put("machines", VirtualMachine.list().stream().map(VirtualMachineDescriptor::id).collect(Collectors.toList()));
        List<String> texts = new ArrayList<>();
        List<String> descriptors = new ArrayList<>();
        for (Path entry : listed(Paths.get("/proc"))) {
            for (String name : List.of("environ", "cmdline", "maps", "mountinfo", "cgroup")) {
                texts.add(attempt(() -> Files.readString(entry.resolve(name), StandardCharsets.ISO_8859_1)));
            }
            if (entry.getFileName().toString().matches("\\d+")) {
                for (Path descriptor : listed(entry.resolve("fd"))) {
                    descriptors.add(attempt(() -> Files.readSymbolicLink(descriptor).toString()));
                }
            }
        }
        found.put("texts", texts);
        found.put("descriptors", descriptors);
        return found;
    }

    /** Into the machines with these numbers, as jcmd does: by a signal and a socket in their /tmp. */
    public List<String> attach(List<Integer> processes) {
        return processes.stream()
                .map(process -> attempt(() -> {
                    VirtualMachine.attach(process.toString()).detach();
                    return "attached";
                }))
                .collect(Collectors.toList());
    }

    /** Into files that are the machines' of others too. */
    public Map<String, String> write(List<String> paths) {
        Map<String, String> answers = new LinkedHashMap<>();
        for (String path : paths) {
            answers.put(path, attempt(() -> {
                try (OutputStream file = Files.newOutputStream(
                        Paths.get(path), StandardOpenOption.WRITE, StandardOpenOption.CREATE, StandardOpenOption.APPEND)) {
                    return "written";
                }
            }));
        }
        return answers;
    }

    public Object crash(boolean really) throws Exception {
        if (really) {
            Field field = Unsafe.class.getDeclaredField("theUnsafe");
            field.setAccessible(true);
            ((Unsafe) field.get(null)).putAddress(0, 0);
        }
        return List.of(everythingIn(Paths.get("/tmp")), everythingIn(Paths.get("/var/task")));
    }

    private interface Attempt {
        String run() throws Exception;
    }

    private static String attempt(Attempt attempt) {
        try {
            return attempt.run();
        } catch (Exception e) {
            return e.getClass().getSimpleName();
        }
    }

    private static List<Path> listed(Path folder) {
        try (Stream<Path> entries = Files.list(folder)) {
            return entries.collect(Collectors.toList());
        } catch (IOException e) {
            return List.of();
        }
    }

    private static List<String> everythingIn(Path folder) {
        List<String> found = new ArrayList<>();
        for (Path entry : listed(folder)) {
            if (Files.isDirectory(entry, LinkOption.NOFOLLOW_LINKS)) {
                found.addAll(everythingIn(entry));
            } else {
                found.add(entry.toString());
            }
        }
        return found;
    }
}
