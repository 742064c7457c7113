import java.time.Duration;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.IntegerDeserializer;
import org.apache.kafka.common.serialization.IntegerSerializer;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZKUtil;
import org.apache.zookeeper.ZooKeeper;
import org.apache.zookeeper.data.Stat;

/**
 * Two Kafka brokers that keep their metadata in the server under test: what they put there, and that they go on when
 * a broker or the server itself is killed. With the argument `ensemble` the server is three. The brokers and the server are ended and started by words to the run.
 */
final class KafkaChecks {
    private static final String BROKERS = System.getenv("BOOTSTRAP");
    private static final int SESSION_MS = Integer.parseInt(System.getenv("SESSION_MS"));
    private static final int MESSAGES = 10_000;
    private static final int WAIT_S = 60;
    /** What may come on top of the session timeout and of two ticks: notice, election of the polls, a busy machine. */
    private static final int SLACK_MS = 2_500;
    private static ZooKeeper zk;
    private static Admin admin;
    /** Messages 0 until here are in the topic `orders`. */
    private static int sent;

    private KafkaChecks() {}

    // ---------------------------------------------------------------- what is in the tree

    private static String data(String path) throws Exception {
        return Checks.text(zk.getData(path, false, null));
    }

    private static int number(String json, String key) {
        Matcher matcher = Pattern.compile('"' + key + "\":(-?\\d+)").matcher(json);
        Checks.isTrue(matcher.find(), "no " + key + " in " + json);
        return Integer.parseInt(matcher.group(1));
    }

    private static Set<Integer> numbers(String json, String key) {
        Matcher matcher = Pattern.compile('"' + key + "\":\\[([\\d,]*)\\]").matcher(json);
        Checks.isTrue(matcher.find(), "no " + key + " in " + json);
        return Pattern.compile(",").splitAsStream(matcher.group(1)).filter(text -> !text.isEmpty())
            .map(Integer::valueOf).collect(Collectors.toSet());
    }

    /** Sessions of the registered brokers, by id. */
    private static Map<String, Long> owners() throws Exception {
        Map<String, Long> owners = new TreeMap<>();
        for (String id : zk.getChildren("/brokers/ids", false)) {
            owners.put(id, zk.exists("/brokers/ids/" + id, false).getEphemeralOwner());
        }
        return owners;
    }

    private static int controller() throws Exception {
        return number(data("/controller"), "brokerid");
    }

    private static int partitions(String topic) throws Exception {
        return zk.getChildren("/brokers/topics/" + topic + "/partitions", false).size();
    }

    /** True when every partition has a leader among these brokers and all of them in sync. */
    private static boolean inSync(String topic, Set<Integer> brokers) throws Exception {
        for (int i = 0; i < partitions(topic); i++) {
            String state = data("/brokers/topics/" + topic + "/partitions/" + i + "/state");
            if (!brokers.contains(number(state, "leader")) || !numbers(state, "isr").equals(brokers)) {
                return false;
            }
        }
        return true;
    }

    /** A probe during which nodes may be missing or the connection may be down. */
    private interface Probe {
        boolean holds() throws Exception;
    }

    private static void eventually(String what, Probe probe) throws Exception {
        Checks.eventually(what, () -> {
            try {
                return probe.holds();
            } catch (KeeperException.NoNodeException | KeeperException.ConnectionLossException e) {
                return false;
            }
        });
    }

    // ---------------------------------------------------------------- messages

    private static Properties common() {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", BROKERS);
        properties.put("request.timeout.ms", "5000");
        properties.put("retry.backoff.ms", "100");
        properties.put("reconnect.backoff.max.ms", "500");
        properties.put("metadata.max.age.ms", "2000");
        return properties;
    }

    private static KafkaProducer<Integer, Integer> producer() {
        Properties properties = common();
        properties.put("acks", "all");
        properties.put("enable.idempotence", "true");
        properties.put("delivery.timeout.ms", "90000");
        properties.put("max.block.ms", "60000");
        return new KafkaProducer<>(properties, new IntegerSerializer(), new IntegerSerializer());
    }

    /** Sends the numbers from `first` until `end`, at most `perSecond` in a second, and waits for the acknowledgements. */
    private static void produce(String topic, int first, int end, int perSecond) throws Exception {
        try (KafkaProducer<Integer, Integer> producer = producer()) {
            send(producer, topic, first, end, perSecond);
        }
    }

    private static void send(KafkaProducer<Integer, Integer> producer, String topic, int first, int end, int perSecond)
        throws Exception {
        AtomicReference<Exception> failure = new AtomicReference<>();
        long started = System.nanoTime();
        for (int i = first; i < end; i++) {
            producer.send(new ProducerRecord<>(topic, i, i), (metadata, error) -> {
                if (error != null) {
                    failure.compareAndSet(null, error);
                }
            });
            long aheadMs = (i - first) * 1000L / perSecond - (System.nanoTime() - started) / 1_000_000;
            if (aheadMs > 0) {
                Thread.sleep(aheadMs);
            }
        }
        producer.flush();
        if (failure.get() != null) {
            throw failure.get();
        }
    }

    /** Reads the whole topic as a new consumer group: each number below `count` once, and nothing else. */
    private static void expectEachOnce(String topic, int count, String group) throws Exception {
        Properties properties = common();
        properties.put("group.id", group);
        properties.put("auto.offset.reset", "earliest");
        BitSet seen = new BitSet(count);
        int read = 0;
        try (KafkaConsumer<Integer, Integer> consumer =
            new KafkaConsumer<>(properties, new IntegerDeserializer(), new IntegerDeserializer())) {
            Collection<TopicPartition> all = consumer.partitionsFor(topic).stream()
                .map(info -> new TopicPartition(topic, info.partition())).collect(Collectors.toList());
            long inLog = consumer.endOffsets(all).values().stream().mapToLong(Long::longValue).sum();
            Checks.equal(inLog, (long) count);
            consumer.subscribe(List.of(topic));
            long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(WAIT_S);
            while (read < count) {
                Checks.isTrue(System.nanoTime() < end, "read " + read + " of " + count + " in " + WAIT_S + " s");
                for (ConsumerRecord<Integer, Integer> message : consumer.poll(Duration.ofMillis(500))) {
                    Checks.isTrue(!seen.get(message.value()), message.value() + " came twice");
                    seen.set(message.value());
                    read++;
                }
            }
            consumer.commitSync();
        }
        Checks.equal(seen.cardinality(), count);
    }

    private static void createTopic(String topic, int partitions) throws Exception {
        short replicas = 2;
        admin.createTopics(List.of(new NewTopic(topic, partitions, replicas))).all().get(WAIT_S, TimeUnit.SECONDS);
        eventually(topic + " in sync", () -> partitions(topic) == partitions && inSync(topic, Set.of(1, 2)));
    }

    private static void roundTrip(int messages, String group) throws Exception {
        produce("orders", sent, sent + messages, 1_000_000);
        sent += messages;
        expectEachOnce("orders", sent, group);
    }

    // ---------------------------------------------------------------- checks

    private static Object brokersRegisterAsEphemerals() throws Exception {
        eventually("both brokers", () -> owners().size() == 2);
        for (Map.Entry<String, Long> broker : owners().entrySet()) {
            Checks.isTrue(broker.getValue() != 0, "broker " + broker.getKey() + " is not an ephemeral");
            Checks.isTrue(data("/brokers/ids/" + broker.getKey()).contains("PLAINTEXT://127.0.0.1"), "its endpoint");
        }
        return "sessions " + owners().values().stream().map(Long::toHexString).collect(Collectors.joining(", "));
    }

    private static Object controllerIsElected() throws Exception {
        eventually("a controller", () -> controller() > 0 && Integer.parseInt(data("/controller_epoch")) >= 1);
        long owner = zk.exists("/controller", false).getEphemeralOwner();
        Checks.equal(owner, owners().get("" + controller()));
        return "broker " + controller();
    }

    private static Object topicsAreCreatedAndChanged() throws Exception {
        createTopic("orders", 4);
        createTopic("failover", 4);
        createTopic("passing", 1);
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, "orders");
        AlterConfigOp change =
            new AlterConfigOp(new ConfigEntry("retention.ms", "3600000"), AlterConfigOp.OpType.SET);
        admin.incrementalAlterConfigs(Map.of(topic, List.of(change))).all().get(WAIT_S, TimeUnit.SECONDS);
        Checks.isTrue(data("/config/topics/orders").contains("3600000"), data("/config/topics/orders"));
        Checks.isTrue(zk.getChildren("/config/changes", false).contains("config_change_0000000000"), "change node");
        admin.createPartitions(Map.of("orders", NewPartitions.increaseTo(6))).all().get(WAIT_S, TimeUnit.SECONDS);
        eventually("six partitions in sync", () -> partitions("orders") == 6 && inSync("orders", Set.of(1, 2)));
        return null;
    }

    private static Object messagesArriveOnce() throws Exception {
        roundTrip(MESSAGES, "first");
        return sent + " messages";
    }

    private static Object killedControllerIsReplaced() throws Exception {
        int dead = controller();
        int other = 3 - dead;
        int epoch = Integer.parseInt(data("/controller_epoch"));
        ExecutorService pool = Executors.newSingleThreadExecutor();
        Future<?> producing = pool.submit(() -> {
            produce("failover", 0, MESSAGES, 800);
            return null;
        });
        try (KafkaConsumer<Integer, Integer> consumer =
            new KafkaConsumer<>(common(), new IntegerDeserializer(), new IntegerDeserializer())) {
            consumer.assign(List.of(new TopicPartition("failover", 0)));
            consumer.seekToBeginning(consumer.assignment());
            Checks.eventually("messages on their way", () -> !consumer.poll(Duration.ofMillis(100)).isEmpty());
        }
        long killed = System.nanoTime();
        Checks.tell("kill-" + dead);
        eventually("its ephemeral gone", () -> zk.exists("/brokers/ids/" + dead, false) == null);
        long goneMs = (System.nanoTime() - killed) / 1_000_000;
        // Pings go out every third of the timeout, so at least two thirds of it were left.
        int early = SESSION_MS * 2 / 3 - 500;
        int late = SESSION_MS + 2 * Checks.TICK_MS + SLACK_MS;
        Checks.isTrue(goneMs >= early && goneMs <= late, "gone after " + goneMs + " ms, not " + early + ".." + late);
        eventually("the other leads", () -> controller() == other);
        Checks.isTrue(Integer.parseInt(data("/controller_epoch")) > epoch, "a higher epoch");
        for (String topic : List.of("orders", "failover", "__consumer_offsets")) {
            eventually(topic + " has moved", () -> inSync(topic, Set.of(other)));
        }
        producing.get(WAIT_S * 2, TimeUnit.SECONDS);
        pool.shutdown();
        expectEachOnce("failover", MESSAGES, "after-the-kill");
        Checks.tell("start-" + dead);
        eventually("back", () -> owners().size() == 2);
        for (String topic : List.of("orders", "failover")) {
            eventually(topic + " in sync again", () -> inSync(topic, Set.of(1, 2)));
        }
        return "broker " + dead + ", its ephemeral gone after " + goneMs + " ms";
    }

    private static Object serverCrashLeavesTheSessions() throws Exception {
        Map<String, Long> before = owners();
        int controller = controller();
        try (KafkaProducer<Integer, Integer> producer = producer()) {
            // Messages need nothing from the tree, but a producer needs an id from it before its first one.
            send(producer, "orders", sent, sent + 1, 1_000_000);
            Checks.tell("crash");
            send(producer, "orders", sent + 1, sent + 500, 1_000_000);
            sent += 500;
        }
        Checks.tell("launch");
        eventually("the tree again", () -> owners().equals(before));
        // Longer than a session that nobody keeps alive would last.
        Thread.sleep(SESSION_MS + 2L * Checks.TICK_MS);
        Checks.equal(owners(), before);
        Checks.equal(controller(), controller);
        createTopic("after-the-crash", 2);
        roundTrip(MESSAGES, "after-the-crash");
        return "sessions kept, " + sent + " messages read back";
    }

    // ---------------------------------------------------------------- an ensemble below the brokers

    /** Everything below the chroot, with data and stats, as one server shows it. */
    private static List<String> treeAt(String server) throws Exception {
        CountDownLatch connected = new CountDownLatch(1);
        String chroot = Checks.SERVER.substring(Checks.SERVER.indexOf('/'));
        try (ZooKeeper one = new ZooKeeper(server + chroot, 20_000, event -> {
            if (event.getState() == KeeperState.SyncConnected) {
                connected.countDown();
            }
        })) {
            Checks.isTrue(connected.await(WAIT_S, TimeUnit.SECONDS), "connected to " + server);
            CountDownLatch synced = new CountDownLatch(1);
            one.sync("/", (code, path, context) -> synced.countDown(), null);
            Checks.isTrue(synced.await(WAIT_S, TimeUnit.SECONDS), "sync at " + server);
            List<String> tree = new ArrayList<>();
            for (String path : ZKUtil.listSubTreeBFS(one, "/")) {
                Stat stat = new Stat();
                byte[] data = one.getData(path, false, stat);
                tree.add(path + " " + (data == null ? "-" : Checks.text(data)) + " " + stat);
            }
            return tree;
        }
    }

    private static void allServersShowTheSame() throws Exception {
        String[] servers = Checks.SERVER.substring(0, Checks.SERVER.indexOf('/')).split(",");
        List<List<String>> trees = new ArrayList<>();
        // The brokers may write between the readings.
        eventually("one tree", () -> {
            trees.clear();
            for (String server : servers) {
                trees.add(treeAt(server));
            }
            return trees.stream().distinct().count() == 1;
        });
        Checks.isTrue(trees.get(0).size() > 50, "a tree of " + trees.get(0).size());
    }

    /** Waits until sessions that nobody keeps would have run out. */
    private static void outwait(long since) throws Exception {
        Thread.sleep(Math.max(0, SESSION_MS + 2L * Checks.TICK_MS - (System.nanoTime() - since) / 1_000_000));
    }

    private static Object leaderCrashWhileMessagesFlow() throws Exception {
        createTopic("flow", 4);
        Map<String, Long> before = owners();
        int controller = controller();
        int messages = 5_000;
        ExecutorService pool = Executors.newFixedThreadPool(2);
        Future<?> producing = pool.submit(() -> {
            produce("flow", 0, messages, 500);
            return null;
        });
        AtomicInteger read = new AtomicInteger();
        Future<?> consuming = pool.submit(() -> {
            Properties properties = common();
            properties.put("group.id", "while-it-flows");
            properties.put("auto.offset.reset", "earliest");
            try (KafkaConsumer<Integer, Integer> consumer =
                new KafkaConsumer<>(properties, new IntegerDeserializer(), new IntegerDeserializer())) {
                consumer.subscribe(List.of("flow"));
                while (read.get() < messages) {
                    read.addAndGet(consumer.poll(Duration.ofMillis(200)).count());
                }
            }
            return null;
        });
        Checks.eventually("messages on their way", () -> read.get() > 100);
        long killed = System.nanoTime();
        Checks.tell("kill-leader");
        createTopic("under-the-new-leader", 2);
        long createdMs = (System.nanoTime() - killed) / 1_000_000;
        producing.get(WAIT_S, TimeUnit.SECONDS);
        consuming.get(WAIT_S, TimeUnit.SECONDS);
        pool.shutdown();
        expectEachOnce("flow", messages, "after-the-flow");
        outwait(killed);
        eventually("the same sessions", () -> owners().equals(before));
        Checks.equal(controller(), controller);
        return "a topic " + createdMs + " ms after the kill, " + messages + " messages meanwhile, sessions kept";
    }

    private static Object killedLeaderReturns() throws Exception {
        Map<String, Long> before = owners();
        Checks.tell("start");
        allServersShowTheSame();
        Checks.equal(owners(), before);
        createTopic("after-its-return", 2);
        roundTrip(MESSAGES, "after-its-return");
        return sent + " messages read back";
    }

    private static Object controllerStaysWhenItsServerIsKilled() throws Exception {
        Map<String, Long> before = owners();
        int controller = controller();
        long killed = System.nanoTime();
        Checks.tell("kill-home " + Long.toHexString(before.get("" + controller)));
        eventually("the same sessions", () -> owners().equals(before));
        createTopic("at-another-server", 2);
        outwait(killed);
        eventually("the same sessions", () -> owners().equals(before));
        Checks.equal(controller(), controller);
        return null;
    }

    private static Object controllerIsReplacedWithTwoServersLeft() throws Exception {
        // One is down since the check before.
        Object detail = killedControllerIsReplaced();
        Checks.tell("start");
        allServersShowTheSame();
        return detail;
    }

    private static Object topicIsDeleted() throws Exception {
        admin.deleteTopics(List.of("passing")).all().get(WAIT_S, TimeUnit.SECONDS);
        eventually("gone", () -> zk.exists("/brokers/topics/passing", false) == null
            && zk.exists("/config/topics/passing", false) == null
            && zk.getChildren("/admin/delete_topics", false).isEmpty());
        return null;
    }

    private static Object stoppedControllerLeavesAtOnce() throws Exception {
        int leaving = controller();
        Checks.tell("stop-" + leaving);
        Checks.isTrue(zk.exists("/brokers/ids/" + leaving, false) == null, "its ephemeral went with its session");
        eventually("the other leads", () -> controller() == 3 - leaving);
        return null;
    }

    public static void main(String[] arguments) throws Exception {
        CountDownLatch connected = new CountDownLatch(1);
        zk = new ZooKeeper(Checks.SERVER, 20_000, event -> {
            if (event.getState() == KeeperState.SyncConnected) {
                connected.countDown();
            }
        });
        Checks.isTrue(connected.await(WAIT_S, TimeUnit.SECONDS), "connected");
        eventually("the chroot", () -> zk.exists("/", false) != null);
        admin = Admin.create(common());
        Checks.check("brokers-register-as-ephemerals", KafkaChecks::brokersRegisterAsEphemerals);
        Checks.check("controller-is-elected", KafkaChecks::controllerIsElected);
        Checks.check("topics-are-created-and-changed", KafkaChecks::topicsAreCreatedAndChanged);
        Checks.check("messages-arrive-once", KafkaChecks::messagesArriveOnce);
        if (arguments.length > 0 && arguments[0].equals("ensemble")) {
            Checks.check("leader-crash-while-messages-flow", KafkaChecks::leaderCrashWhileMessagesFlow);
            Checks.check("killed-leader-returns", KafkaChecks::killedLeaderReturns);
            Checks.check("controller-stays-when-its-server-is-killed", KafkaChecks::controllerStaysWhenItsServerIsKilled);
            Checks.check("controller-is-replaced-with-two-servers-left",
                KafkaChecks::controllerIsReplacedWithTwoServersLeft);
        } else {
            Checks.check("killed-controller-is-replaced", KafkaChecks::killedControllerIsReplaced);
            Checks.check("server-crash-leaves-the-sessions", KafkaChecks::serverCrashLeavesTheSessions);
        }
        Checks.check("topic-is-deleted", KafkaChecks::topicIsDeleted);
        Checks.check("stopped-controller-leaves-at-once", KafkaChecks::stoppedControllerLeavesAtOnce);
        Checks.done();
    }
}
