//! A cluster's keys as an API server would write them, the same for the same seed, without end.
//!
//! What is written in which order depends on the seed alone, so a small data set is the beginning of a large one. Shares
//! and sizes are chosen so that a snapshot compresses about as well as that of a busy cluster: a quarter of its size.

/// splitmix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014).
pub(crate) struct Random(u64);

impl Random {
    /// The next 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// A number below `bound`, which is small.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound
    }

    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[usize::try_from(self.below(words.len() as u64)).unwrap_or(0)]
    }

    fn hex(&mut self, digits: usize) -> String {
        let blocks: Vec<String> = (0..digits.div_ceil(16)).map(|_| format!("{:016x}", self.bits())).collect();
        let mut text = blocks.concat();
        text.truncate(digits);
        text
    }

    fn uid(&mut self) -> String {
        let hex = self.hex(32);
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    /// What base64 makes of random bytes.
    fn base64(&mut self, length: u64) -> String {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::with_capacity(usize::try_from(length).unwrap_or(0) + 10);
        while (text.len() as u64) < length {
            let mut bits = self.bits();
            for _ in 0..10 {
                text.push(char::from(DIGITS[(bits & 63) as usize]));
                bits >>= 6;
            }
        }
        text
    }

    fn words(&mut self, count: u64) -> String {
        (0..count).map(|_| self.of(WORDS)).collect::<Vec<_>>().join(" ")
    }
}

const NAMESPACES: &[&str] = &[
    "kube-system",
    "default",
    "monitoring",
    "payments",
    "checkout",
    "search",
    "ingress-nginx",
    "cert-manager",
    "data-platform",
    "staging",
    "batch",
    "identity",
];
const APPS: &[&str] = &[
    "api",
    "worker",
    "frontend",
    "gateway",
    "scheduler",
    "cache",
    "indexer",
    "billing",
    "notifier",
    "auth-proxy",
    "exporter",
    "ledger",
    "reconciler",
    "queue-consumer",
    "report-builder",
    "session-store",
];
const REASONS: &[&str] = &[
    "Scheduled",
    "Pulled",
    "Created",
    "Started",
    "Killing",
    "BackOff",
    "Unhealthy",
    "FailedMount",
    "Evicted",
];
const WORDS: &[&str] = &[
    "connection",
    "timeout",
    "retry",
    "upstream",
    "listen",
    "server",
    "max",
    "pool",
    "size",
    "level",
    "info",
    "true",
    "false",
    "interval",
    "seconds",
    "endpoint",
    "cluster",
    "replica",
    "path",
    "token",
    "header",
    "allow",
    "deny",
    "route",
    "backend",
    "metrics",
    "buffer",
    "worker",
    "queue",
    "limit",
    "request",
    "response",
    "secret",
    "volume",
    "policy",
];

/// One write: a key and its new value.
pub(crate) type Put = (String, String);

/// The writes of a cluster, in order.
pub(crate) struct DataSet {
    random: Random,
    time: u64,
    /// Events that will be seen again: key, beginning of the value, how often seen.
    events: Vec<(String, String, u64)>,
}

impl DataSet {
    /// The data set of this seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Random(seed), time: 0, events: Vec::new() }
    }

    /// Seconds pass with every write; formatted as Kubernetes does.
    fn now(&mut self) -> String {
        self.time += self.random.below(3);
        let (day, second) = (self.time / 86_400, self.time % 86_400);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        format!("2026-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", 1 + day / 28 % 12, 1 + day % 28)
    }

    fn metadata(&mut self, name: &str, namespace: &str) -> String {
        let (uid, now) = (self.random.uid(), self.now());
        format!(
            r#""metadata":{{"name":"{name}","namespace":"{namespace}","uid":"{uid}","creationTimestamp":"{now}""#
        )
    }

    fn pod(&mut self) -> Put {
        let app = self.random.of(APPS);
        let namespace = self.random.of(NAMESPACES);
        let template = self.random.hex(10);
        let name = format!("{app}-{template}-{}", self.random.hex(5));
        let metadata = self.metadata(&name, namespace);
        let (owner, node) = (self.random.uid(), self.random.below(400));
        let mut value = format!(
            r#"{{"kind":"Pod","apiVersion":"v1",{metadata},"generateName":"{app}-{template}-","labels":{{"app.kubernetes.io/name":"{app}","app.kubernetes.io/instance":"{app}-{namespace}","pod-template-hash":"{template}"}},"annotations":{{"checksum/config":"{}","cni.projectcalico.org/podIP":"10.{}.{}.{}/32"}},"ownerReferences":[{{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"{app}-{template}","uid":"{owner}","controller":true,"blockOwnerDeletion":true}}],"managedFields":["#,
            self.random.hex(64),
            self.random.below(256),
            self.random.below(256),
            self.random.below(256),
        );
        let time = self.now();
        value.push_str(&managed_fields(&time, &owner));
        value.push_str(&self.pod_spec(app, node));
        value.push_str(&self.pod_status(app, node));
        (format!("/registry/pods/{namespace}/{name}"), value)
    }

    fn pod_spec(&mut self, app: &str, node: u64) -> String {
        let (volume, tag) = (self.random.hex(5), self.random.between(100, 999));
        let milli = 50 * self.random.between(1, 40);
        format!(
            r#"]}},"spec":{{"volumes":[{{"name":"kube-api-access-{volume}","projected":{{"sources":[{{"serviceAccountToken":{{"expirationSeconds":3607,"path":"token"}}}},{{"configMap":{{"name":"kube-root-ca.crt","items":[{{"key":"ca.crt","path":"ca.crt"}}]}}}},{{"downwardAPI":{{"items":[{{"path":"namespace","fieldRef":{{"apiVersion":"v1","fieldPath":"metadata.namespace"}}}}]}}}}],"defaultMode":420}}}}],"containers":[{{"name":"{app}","image":"registry.example.com/platform/{app}:1.{tag}.{}","ports":[{{"name":"http","containerPort":8080,"protocol":"TCP"}},{{"name":"metrics","containerPort":9090,"protocol":"TCP"}}],"env":[{{"name":"POD_NAME","valueFrom":{{"fieldRef":{{"apiVersion":"v1","fieldPath":"metadata.name"}}}}}},{{"name":"REQUEST_BUDGET","value":"{}"}}],"resources":{{"limits":{{"cpu":"{}m","memory":"{}Mi"}},"requests":{{"cpu":"{milli}m","memory":"{}Mi"}}}},"volumeMounts":[{{"name":"kube-api-access-{volume}","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}}],"livenessProbe":{{"httpGet":{{"path":"/healthz","port":"http","scheme":"HTTP"}},"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3}},"readinessProbe":{{"httpGet":{{"path":"/ready","port":"http","scheme":"HTTP"}},"timeoutSeconds":1,"periodSeconds":10,"successThreshold":1,"failureThreshold":3}},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File","imagePullPolicy":"IfNotPresent","securityContext":{{"capabilities":{{"drop":["ALL"]}},"readOnlyRootFilesystem":true,"allowPrivilegeEscalation":false}}}}],"restartPolicy":"Always","terminationGracePeriodSeconds":30,"dnsPolicy":"ClusterFirst","serviceAccountName":"{app}","serviceAccount":"{app}","nodeName":"node-{node:03}","schedulerName":"default-scheduler","tolerations":[{{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}},{{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}}],"priority":0,"enableServiceLinks":true,"preemptionPolicy":"PreemptLowerPriority"}}"#,
            self.random.below(40),
            self.random.below(10_000),
            2 * milli,
            self.random.between(64, 4096),
            self.random.between(32, 2048),
        )
    }

    fn pod_status(&mut self, app: &str, node: u64) -> String {
        let (time, container, image) = (self.now(), self.random.hex(64), self.random.hex(64));
        let address = format!("10.244.{}.{}", self.random.below(256), self.random.below(256));
        let condition = |kind: &str| {
            format!(
                r#"{{"type":"{kind}","status":"True","lastProbeTime":null,"lastTransitionTime":"{time}"}}"#
            )
        };
        let conditions = ["Initialized", "Ready", "ContainersReady", "PodScheduled"].map(condition).join(",");
        format!(
            r#","status":{{"phase":"Running","conditions":[{conditions}],"hostIP":"192.168.{}.{}","podIP":"{address}","podIPs":[{{"ip":"{address}"}}],"startTime":"{time}","containerStatuses":[{{"name":"{app}","state":{{"running":{{"startedAt":"{time}"}}}},"lastState":{{}},"ready":true,"restartCount":{},"image":"registry.example.com/platform/{app}","imageID":"registry.example.com/platform/{app}@sha256:{image}","containerID":"containerd://{container}","started":true}}],"qosClass":"Burstable"}}}}"#,
            node / 250,
            node % 250,
            self.random.below(5),
        )
    }

    /// Node leases: few keys, renewed for ever.
    fn lease(&mut self) -> Put {
        let node = self.random.below(400);
        let (time, fraction) = (self.now(), self.random.below(1_000_000));
        let renewed = format!("{}.{fraction:06}Z", time.trim_end_matches('Z'));
        (
            format!("/registry/leases/kube-node-lease/node-{node:03}"),
            format!(
                r#"{{"kind":"Lease","apiVersion":"coordination.k8s.io/v1","metadata":{{"name":"node-{node:03}","namespace":"kube-node-lease","uid":"{node:08x}-0000-4000-8000-00000000{node:04x}","creationTimestamp":"2026-01-01T00:00:00Z","ownerReferences":[{{"apiVersion":"v1","kind":"Node","name":"node-{node:03}","uid":"{node:08x}-1111-4000-8000-00000000{node:04x}"}}]}},"spec":{{"holderIdentity":"node-{node:03}","leaseDurationSeconds":40,"renewTime":"{renewed}"}}}}"#
            ),
        )
    }

    /// A new event, or an old one seen once more.
    fn event(&mut self) -> Put {
        const REMEMBERED: usize = 512;
        if self.events.len() < REMEMBERED {
            let event = self.new_event();
            self.events.push(event);
        } else if self.random.below(4) == 0 {
            let forgotten = usize::try_from(self.random.below(REMEMBERED as u64)).unwrap_or(0);
            self.events[forgotten] = self.new_event();
        }
        let time = self.now();
        let chosen = usize::try_from(self.random.below(self.events.len() as u64)).unwrap_or(0);
        let (key, value, count) = &mut self.events[chosen];
        *count += 1;
        (key.clone(), format!(r#"{value},"lastTimestamp":"{time}","count":{count},"type":"Warning"}}"#))
    }

    fn new_event(&mut self) -> (String, String, u64) {
        let (app, namespace) = (self.random.of(APPS), self.random.of(NAMESPACES));
        let pod = format!("{app}-{}-{}", self.random.hex(10), self.random.hex(5));
        let name = format!("{pod}.{}", self.random.hex(16));
        let (metadata, time) = (self.metadata(&name, namespace), self.now());
        let reason = self.random.of(REASONS);
        let value = format!(
            r#"{{"kind":"Event","apiVersion":"v1",{metadata},"managedFields":[{{"manager":"kubelet","operation":"Update","apiVersion":"v1","time":"{time}","fieldsType":"FieldsV1","fieldsV1":{{"f:count":{{}},"f:firstTimestamp":{{}},"f:involvedObject":{{}},"f:lastTimestamp":{{}},"f:message":{{}},"f:reason":{{}},"f:source":{{"f:component":{{}},"f:host":{{}}}},"f:type":{{}}}}}}]}},"involvedObject":{{"kind":"Pod","namespace":"{namespace}","name":"{pod}","uid":"{}","apiVersion":"v1","resourceVersion":"{}","fieldPath":"spec.containers{{{app}}}"}},"reason":"{reason}","message":"{reason}: {}","source":{{"component":"kubelet","host":"node-{:03}"}},"firstTimestamp":"{time}""#,
            self.random.uid(),
            self.random.below(100_000_000),
            self.random.words(9),
            self.random.below(400),
        );
        (format!("/registry/events/{namespace}/{name}"), value, 0)
    }

    fn secret(&mut self) -> Put {
        let (namespace, name) = (self.random.of(NAMESPACES), format!("tls-{}", self.random.hex(8)));
        let (metadata, length) = (self.metadata(&name, namespace), self.random.between(400, 3600));
        let (certificate, key) = (self.random.base64(length), self.random.base64(1700));
        (
            format!("/registry/secrets/{namespace}/{name}"),
            format!(
                r#"{{"kind":"Secret","apiVersion":"v1",{metadata}}},"data":{{"tls.crt":"{certificate}","tls.key":"{key}"}},"type":"kubernetes.io/tls"}}"#
            ),
        )
    }

    fn config_map(&mut self) -> Put {
        let (namespace, app) = (self.random.of(NAMESPACES), self.random.of(APPS));
        let name = format!("{app}-config-{}", self.random.hex(6));
        let metadata = self.metadata(&name, namespace);
        let lines: Vec<String> =
            (0..self.random.between(20, 400)).map(|number| self.setting(number)).collect();
        let lines = lines.concat();
        (
            format!("/registry/configmaps/{namespace}/{name}"),
            format!(
                r#"{{"kind":"ConfigMap","apiVersion":"v1",{metadata}}},"data":{{"application.yaml":"{app}:\n{lines}"}}}}"#
            ),
        )
    }

    fn setting(&mut self, number: u64) -> String {
        let (name, words) = (self.random.of(WORDS), self.random.between(1, 6));
        format!("  {name}_{number}: {}\\n", self.random.words(words))
    }

    /// Helm keeps each release as compressed JSON in base64 in a Secret, which is base64 once more.
    fn helm_release(&mut self) -> Put {
        let (namespace, app) = (self.random.of(NAMESPACES), self.random.of(APPS));
        let name = format!("sh.helm.release.v1.{app}-{}.v{}", self.random.hex(4), self.random.between(1, 40));
        let (metadata, length) = (self.metadata(&name, namespace), self.random.between(20_000, 900_000));
        let release = self.random.base64(length);
        (
            format!("/registry/secrets/{namespace}/{name}"),
            format!(
                r#"{{"kind":"Secret","apiVersion":"v1",{metadata},"labels":{{"name":"{app}","owner":"helm","status":"deployed"}}}},"data":{{"release":"{release}"}},"type":"helm.sh/release.v1"}}"#
            ),
        )
    }
}

impl Iterator for DataSet {
    type Item = Put;

    /// Of the bytes, about a half are pods, a sixth events, and a twelfth each leases, Secrets, `ConfigMap`s and Helm's.
    fn next(&mut self) -> Option<Put> {
        Some(match self.random.below(10_000) {
            0..2400 => self.pod(),
            2400..4800 => self.event(),
            4800..9000 => self.lease(),
            9000..9600 => self.secret(),
            9600..9990 => self.config_map(),
            _ => self.helm_release(),
        })
    }
}

fn managed_fields(time: &str, owner: &str) -> String {
    let pod = format!(
        r#"{{"manager":"kube-controller-manager","operation":"Update","apiVersion":"v1","time":"{time}","fieldsType":"FieldsV1","fieldsV1":{{"f:metadata":{{"f:annotations":{{".":{{}},"f:checksum/config":{{}}}},"f:generateName":{{}},"f:labels":{{".":{{}},"f:app.kubernetes.io/instance":{{}},"f:app.kubernetes.io/name":{{}},"f:pod-template-hash":{{}}}},"f:ownerReferences":{{".":{{}},"k:{{\"uid\":\"{owner}\"}}":{{}}}}}},"f:spec":{{"f:containers":{{"k:{{\"name\":\"main\"}}":{{".":{{}},"f:env":{{".":{{}},"k:{{\"name\":\"POD_NAME\"}}":{{".":{{}},"f:name":{{}},"f:valueFrom":{{".":{{}},"f:fieldRef":{{}}}}}}}},"f:image":{{}},"f:imagePullPolicy":{{}},"f:livenessProbe":{{".":{{}},"f:failureThreshold":{{}},"f:httpGet":{{".":{{}},"f:path":{{}},"f:port":{{}},"f:scheme":{{}}}},"f:periodSeconds":{{}},"f:successThreshold":{{}},"f:timeoutSeconds":{{}}}},"f:name":{{}},"f:ports":{{".":{{}},"k:{{\"containerPort\":8080,\"protocol\":\"TCP\"}}":{{".":{{}},"f:containerPort":{{}},"f:name":{{}},"f:protocol":{{}}}}}},"f:resources":{{".":{{}},"f:limits":{{".":{{}},"f:cpu":{{}},"f:memory":{{}}}},"f:requests":{{".":{{}},"f:cpu":{{}},"f:memory":{{}}}}}},"f:securityContext":{{".":{{}},"f:allowPrivilegeEscalation":{{}},"f:readOnlyRootFilesystem":{{}}}},"f:terminationMessagePath":{{}},"f:terminationMessagePolicy":{{}}}}}},"f:dnsPolicy":{{}},"f:enableServiceLinks":{{}},"f:restartPolicy":{{}},"f:schedulerName":{{}},"f:securityContext":{{}},"f:serviceAccount":{{}},"f:serviceAccountName":{{}},"f:terminationGracePeriodSeconds":{{}}}}}}}}"#
    );
    let status = format!(
        r#"{{"manager":"kubelet","operation":"Update","apiVersion":"v1","time":"{time}","fieldsType":"FieldsV1","fieldsV1":{{"f:status":{{"f:conditions":{{"k:{{\"type\":\"ContainersReady\"}}":{{".":{{}},"f:lastProbeTime":{{}},"f:lastTransitionTime":{{}},"f:status":{{}},"f:type":{{}}}},"k:{{\"type\":\"Initialized\"}}":{{".":{{}},"f:lastProbeTime":{{}},"f:lastTransitionTime":{{}},"f:status":{{}},"f:type":{{}}}},"k:{{\"type\":\"Ready\"}}":{{".":{{}},"f:lastProbeTime":{{}},"f:lastTransitionTime":{{}},"f:status":{{}},"f:type":{{}}}}}},"f:containerStatuses":{{}},"f:hostIP":{{}},"f:phase":{{}},"f:podIP":{{}},"f:podIPs":{{".":{{}},"k:{{\"ip\":\"10.244.0.1\"}}":{{".":{{}},"f:ip":{{}}}}}},"f:startTime":{{}}}}}},"subresource":"status"}}"#
    );
    format!("{pod},{status}")
}
