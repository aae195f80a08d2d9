"""Plans (src/net/plan.h), in few words."""
import copy

ALL4, ALL6 = "0.0.0.0/0", "::/0"


def rule(peer, protocol=-1, ports=None, icmp=(-1, -1), egress=False):
    """peer: a block, a group, or a list of blocks. protocol: a name or a number."""
    first, last = (ports if isinstance(ports, tuple) else (ports, ports)) if ports is not None else (-1, -1)
    r = {"egress": egress, "protocol": {"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58}.get(protocol, protocol),
         "from": first, "to": last, "icmp_type": icmp[0], "icmp_code": icmp[1]}
    if isinstance(peer, list):
        r["prefixes"] = peer
    else:
        r["group" if peer.startswith("sg-") else "cidr"] = peer
    return r


def out(peer, *args, **kwargs):
    return rule(peer, *args, egress=True, **kwargs)


EVERYWHERE = [out(ALL4), out(ALL6)]


def entry(allow, cidr, protocol=-1, ports=None, egress=False):
    e = rule(cidr, protocol, ports, egress=egress)
    e["allow"] = allow
    return e


OPEN = [entry(True, c, egress=e) for c in (ALL4, ALL6) for e in (False, True)]


class Plan:
    """What changes during a test; json() is the plan."""

    def __init__(self, vpc, cidr, cidr6=None):
        self.base = {"vpc": vpc, "region": "us-east-1", "account": "123456789012", "generation": 1,
                     "host": "198.19.255.254", "internet": True, "egress_only": True, "dns": True,
                     "cidrs": [cidr], "cidrs6": [cidr6] if cidr6 else []}
        self.subnets, self.tables, self.groups, self.interfaces, self.nats, self.peerings = {}, {}, {}, {}, {}, {}
        self.acls = {"acl-open": list(OPEN)}

    def subnet(self, name, cidr, cidr6="", table="rtb-main", acl="acl-open"):
        self.subnets[name] = {"id": name, "cidr": cidr, "cidr6": cidr6, "table": table, "acl": acl}

    def route(self, table, to, kind, target=""):
        self.tables.setdefault(table, {})[to] = (kind, target)

    def interface(self, name, subnet, mac, addresses, groups, public=None, check=True, prefixes=()):
        ident = f"eni-{name:0>17}"
        self.interfaces[name] = {
            "id": ident, "tap": "eni" + ident[-12:], "instance": "i-" + name, "subnet": subnet, "mac": mac,
            "addresses": [a for a in addresses if ":" not in a], "addresses6": [a for a in addresses if ":" in a],
            "groups": groups, "prefixes": list(prefixes), "check": check,
            "publics": [{"address": public, "private": addresses[0]}] if public else []}
        return self.interfaces[name]

    def json(self):
        p = copy.deepcopy(self.base)
        members = {}
        for i in self.interfaces.values():
            for g in i["groups"]:
                members.setdefault(g, []).extend(i["addresses"] + i["addresses6"])
        p["subnets"] = list(self.subnets.values())
        p["tables"] = [{"id": t, "routes": [{"to": to, "kind": k, "target": v} for to, (k, v) in routes.items()]}
                       for t, routes in self.tables.items()]
        p["acls"] = [{"id": a, "entries": e} for a, e in self.acls.items()]
        p["groups"] = [{"id": g, "members": members.get(g, []), "rules": rules} if isinstance(rules, list)
                       else {"id": g, "members": rules["members"], "rules": []} for g, rules in self.groups.items()]
        p["interfaces"] = list(self.interfaces.values())
        p["nats"] = list(self.nats.values())
        p["peerings"] = list(self.peerings.values())
        return p
